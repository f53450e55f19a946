"""`autoopt matrix`: every compression technique on every kind of network in every runtime; what works and how fast.

The networks are small and have random weights (`workloads/networks/families.py`). So a cell says whether a technique
works, how far its outputs are from the float network's, and whether it gets faster; not what a trained network loses.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoopt.compress import STEPS, quantize, step
from autoopt.compress.chain import Stages, make, net_parts
from autoopt.compress.comparison import signal_to_noise_db
from autoopt.compress.export import form_of
from autoopt.compress.known_failures import FAILED_BEFORE
from autoopt.compress.maker import Maker
from autoopt.core.configuration import Configuration, Scalar, canonical_json
from autoopt.core.host import Host
from autoopt.core.process import Child
from autoopt.core.store import Artifact, Store, writable_folder
from autoopt.errors import Crash, TrialError, Unsupported
from autoopt.inference.runtimes import REFERENCE, RUNTIMES, has_network, runtime
from autoopt.measure.target import Exchange, LocalTarget, Target
from autoopt.nets.weights import WeightsInfo, save_weights
from autoopt.workloads.contract import Workload
from autoopt.workloads.loading import load_workload
from autoopt.workloads.networks.families import NETS, SOURCE

Settings = Mapping[str, Mapping[str, Scalar]]
Subject = tuple[str, Mapping[str, Scalar]]
"""Where an artifact is on the target, and the settings of the runtime that executes it."""
FLOAT = "float"
_SHORT: Mapping[str, Scalar] = {"steps": 4, "batch": 2}
TECHNIQUES: Mapping[str, Settings] = {
    FLOAT: {},
    "BF16": {"runtime": {"precision": "bf16"}},
    "F16": {"runtime": {"precision": "f16"}},
    "INT8": {"quantize": {"scheme": "int8"}},
    "INT8 mixed": {"quantize": {"scheme": "int8", "preset": "mixed"}},
    "INT8 of ONNX Runtime": {"quantize": {"scheme": "int8", "tool": "onnxruntime"}},
    "INT8, SmoothQuant": {"quantize": {"scheme": "int8", "smooth_quant": 0.5}},
    "INT8, accuracy control": {"quantize": {"scheme": "int8", "accuracy_drop": 0.05}},
    "INT8, a group in float": {"quantize": {"scheme": "int8", "keep_float": 1}},
    "INT8 weights": {"quantize": {"scheme": "int8-weights"}},
    "INT4 weights": {"quantize": {"scheme": "int4-weights"}},
    "half resolution": {"resolution": {"factor": 2, **_SHORT}},
    "pruned": {"prune": {"ratio": 0.5, "rungs": None, **_SHORT}},
    "pruned, INT8": {"prune": {"ratio": 0.5, "rungs": None, **_SHORT}, "quantize": {"scheme": "int8"}},
    "distilled": {"recover": _SHORT},
    "low rank": {"factorize": {"keep": 0.4, "by": "ratio", **_SHORT}},
    "trained as INT8": {"recover": {"qat": True, **_SHORT}, "quantize": {"scheme": "int8"}},
    "INT8, learnt clipping": {"quantize": {"scheme": "int8-qat", "preset": "mixed", "qat_steps": _SHORT["steps"]}},
}
"""By name, the sections of a configuration that differ from the float network."""
WORKS, SAME, REFUSED, FAILED = "works", "no effect", "refused", "failed"
CALIBRATION_CASES = 4
BATCHES = 3
TIMEOUT_S = 120.0
CHILD = "autoopt.compress.matrix_process"
BATCHES_FILE, ANSWERS_FILE = "batches.npy", "answers.npy"


@dataclass(frozen=True)
class Cell:
    """The result of one technique on one network in one runtime.

    `status` is "works", "no effect" (on this host the configuration is the same as the float network's), "refused" or
    "failed", with the `reason`. `speed_up` is over the float network in the same runtime, None where it was not timed.
    `agreement_db` is the signal-to-noise ratio to the outputs of the reference runtime for the same (pruned, retrained)
    network, None where they are equal.
    """

    net: str
    family: str
    technique: str
    runtime: str
    status: str
    reason: str = ""
    speed_up: float | None = None
    agreement_db: float | None = None


def matrix(
    *,
    nets: Iterable[str] | None = None,
    techniques: Iterable[str] = tuple(TECHNIQUES),
    quick: bool = False,
    timed: bool = True,
    home: Path | None = None,
    on_cell: Callable[[Cell], None] = lambda cell: None,
    target: Target | None = None,
) -> list[Cell]:
    """Every cell of the matrix: of `nets`, or with `quick` of the first network of each family, or of all networks.

    `techniques` must begin with the float network. `target` runs the networks, by default this host, which makes them.
    Artifacts are kept below `home`, else in a temporary folder; each cell goes to `on_cell` as soon as it is known.
    Raises StorageError when `home` is no folder that can be written; what goes wrong in a cell is its status.
    """
    chosen = list(nets) if nets is not None else _quick() if quick else list(NETS)
    cells: list[Cell] = []
    target, builder = target or LocalTarget(), LocalTarget().host
    with ExitStack() as held:
        folder = home or Path(held.enter_context(tempfile.TemporaryDirectory(prefix="autoopt-matrix-")))
        writable_folder(folder)
        children = {name: held.enter_context(target.worker(CHILD, threads=target.host.cores)) for name in executing()}
        for net in chosen:
            workload = load_workload(SOURCE, None, folder, {"net": net})
            weights, store = _weights(workload, folder), Store(folder / "store")
            with Maker(workload, weights, store, builder, target=target) as maker, target.exchange() as exchange:
                for cell in _Row(net, workload, maker, children, exchange, target, timed).cells(techniques):
                    cells.append(cell)
                    on_cell(cell)
    return cells


def executing() -> list[str]:
    """The runtimes that are compared: all that execute a network, in the order of their table."""
    return [name for name in RUNTIMES if has_network(name)]


def count(*, quick: bool = False) -> int:
    """The number of cells."""
    return len(_quick() if quick else NETS) * len(TECHNIQUES) * len(executing())


class _Row:
    """All cells of one network."""

    def __init__(
        self,
        net: str,
        workload: Workload,
        maker: Maker,
        children: Mapping[str, Child],
        exchange: Exchange,
        target: Target,
        timed: bool,
    ) -> None:
        self._net, self._workload, self._maker, self._children = net, workload, maker, children
        self._exchange, self._target, self._timed = exchange, target, timed
        self._wanted: dict[str, np.ndarray] = {}
        self._float: dict[str, Subject] = {}
        tiles = [workload.pipeline.prepare(case.read().image, None)[0][:1] for case in workload.splits.val[:BATCHES]]
        self._exchange.write(BATCHES_FILE, np.stack(tiles))

    def cells(self, techniques: Iterable[str]) -> Iterable[Cell]:
        """The cells of the reference runtime first: all others are compared with its outputs."""
        for name in sorted(executing(), key=lambda name: name != REFERENCE):
            seen: dict[Configuration, str] = {}
            for technique in techniques:
                yield self._cell(technique, TECHNIQUES[technique], name, seen)

    def _cell(self, technique: str, sections: Settings, name: str, seen: dict[Configuration, str]) -> Cell:
        configuration = _configuration(sections, name, self._target.host)
        family = NETS[self._net].family
        if configuration in seen:
            reason = _why_same(sections, name) if seen[configuration] == FLOAT else f"the same as {seen[configuration]}"
            return Cell(self._net, family, technique, name, SAME, reason)
        seen[configuration] = technique
        try:
            speed_up, agreement_db = self._run(configuration, name, is_float=technique == FLOAT)
        except TrialError as error:
            status = REFUSED if isinstance(error, Unsupported) else FAILED
            return Cell(self._net, family, technique, name, status, error.message.removeprefix(FAILED_BEFORE))
        return Cell(self._net, family, technique, name, WORKS, "", speed_up, agreement_db)

    def _run(self, configuration: Configuration, name: str, *, is_float: bool) -> tuple[float | None, float | None]:
        settings = configuration.runtime
        chain = make(configuration, self._maker, self._workload.pipeline, Stages(lambda stage: None))
        subject = (self._target.put(chain[-1]), dict(settings))
        if is_float:
            self._float[name] = subject
        elif name not in self._float:
            raise Crash(f"the float network must run in {name} to be compared with, it does not")
        parts = list(net_parts(configuration))
        network = canonical_json(parts)
        if name != REFERENCE and network not in self._wanted and parts:  # the scheme of integers trained it
            self._wanted[network], _ = self._answers(REFERENCE, self._reference(chain[len(parts) - 1]))
        found, seconds = self._answers(name, subject, self._float[name] if self._timed and not is_float else None)
        wanted = self._wanted.setdefault(network, found)
        speed_up = None if seconds is None else seconds[1] / seconds[0]
        return speed_up, signal_to_noise_db([found], [wanted], around_mean=True)

    def _reference(self, net: Artifact) -> Subject:
        """A changed network as the reference runtime executes it."""
        settings = _configuration({}, REFERENCE, self._target.host).runtime
        artifact = self._maker.export(*form_of(settings), self._workload.pipeline, net)
        return self._target.put(artifact), dict(settings)

    def _answers(
        self, name: str, subject: Subject, baseline: Subject | None = None
    ) -> tuple[np.ndarray, Sequence[float] | None]:
        """What a runtime answers, and the shortest seconds of a call of both where it is timed beside a baseline."""
        request = {
            "artifact": subject,
            "folder": self._exchange.path,
            "batches": BATCHES_FILE,
            "answers": ANSWERS_FILE,
            "baseline": baseline,
        }
        with self._target.exclusive() if self._timed else nullcontext():
            seconds = self._children[name].call("run", request, stage="measure", timeout_s=TIMEOUT_S)["seconds"]
        return self._exchange.read(ANSWERS_FILE), seconds


def _quick() -> list[str]:
    first: dict[str, str] = {}
    for name, net in NETS.items():
        first.setdefault(net.family, name)
    return list(first.values())


def _configuration(sections: Settings, name: str, host: Host) -> Configuration:
    """The canonical configuration of these sections: only what has an effect here is left."""
    given = {"threads": host.cores, "spinning": False, **sections.get("runtime", {})}
    executed = {**runtime(name).canonical(given, host), "name": name}
    steps: dict[str, Mapping[str, Scalar] | None] = {}
    for item in STEPS:
        if item in sections:
            settings = dict(sections[item])
            if item == "quantize":
                settings["calibration_cases"] = CALIBRATION_CASES
            steps[item] = step(item).canonical(settings, executed, host)
    return Configuration.of(
        {**{item: found for item, found in steps.items() if found is not None}, "runtime": executed}
    )


def _why_same(sections: Settings, name: str) -> str:
    if "runtime" in sections:
        return f"{name} has no {str(sections['runtime']['precision']).upper()} arithmetic on this CPU"
    if "quantize" not in sections:
        return f"it changes nothing for {name}"
    if not runtime(name).SCHEMES:
        return f"quantizers change graphs, {name} runs the network itself"
    scheme = quantize.integers(sections["quantize"])
    others = [other for other in executing() if scheme in runtime(other).SCHEMES]
    return f"{name} makes no use of {scheme}: it needs {' or '.join(others)}"


def _weights(workload: Workload, folder: Path) -> Path:
    """Random weights, with the statistics of batch norms that the images give."""
    import torch

    from autoopt.nets.norms import renew_norms

    assert workload.build is not None
    model = workload.build().eval()
    tiles = [workload.pipeline.prepare(case.read().image, None)[0] for case in workload.splits.train]
    renew_norms(model, [torch.from_numpy(np.concatenate(tiles))])
    info = WeightsInfo(workload.name.replace(" ", "-"), workload.data_digest, {"random": True}, demo=True)
    return save_weights(model, folder / "weights", info)

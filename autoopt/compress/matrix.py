"""`autoopt matrix`: every compression on every kind of network in every runtime: what works, how fast, what is refused.

The networks are small and have random weights (`workloads/families.py`), so a cell says whether a technique works, how
far its answers are from those of the float network, and which way the time goes: not what a trained network loses.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoopt.compress import STEPS, net_steps, step
from autoopt.compress.chain import Stages, make
from autoopt.compress.known_failures import FAILED_BEFORE
from autoopt.compress.maker import Maker
from autoopt.core.configuration import Configuration, Scalar, canonical_json
from autoopt.core.host import Host
from autoopt.core.process import Child
from autoopt.core.store import Store, writable_folder
from autoopt.errors import Crash, TrialError, Unsupported
from autoopt.inference.runtimes import runtime
from autoopt.measure.host import current_host
from autoopt.measure.launcher import LOCK, LOCK_WAIT_S
from autoopt.measure.lock import host_lock
from autoopt.nets.weights import WeightsInfo, save_weights
from autoopt.workloads.contract import Workload, load_workload
from autoopt.workloads.networks.families import NETS, SOURCE

Settings = Mapping[str, Mapping[str, Scalar]]
RUNTIMES = ("openvino", "onnxruntime", "torch")
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
    "low rank": {"factorize": {"keep": 0.4, "by": "ratio", **_SHORT}},
    "trained as INT8": {"recover": {"qat": True, **_SHORT}, "quantize": {"scheme": "int8"}},
}
"""By name, the sections of a configuration that differ from the float network."""
WORKS, SAME, REFUSED, FAILED = "works", "no effect", "refused", "failed"
CALIBRATION_CASES = 4
BATCHES = 3
TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Cell:
    """What became of a technique on a network in a runtime.

    `status` is works, "no effect" (the configuration is that of the float network on this host), refused or failed,
    with the `reason`. `speed_up` is over the float network in the same runtime, None where it was not timed;
    `agreement_db` the signal over the distance from what PyTorch answers with the same network, pruned or trained as
    this one is; None where nothing differs.
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
) -> list[Cell]:
    """Every cell of the matrix, of all networks, of `nets`, or with `quick` of the first of each family.

    Of all `techniques`, or of some, among them the float network. Artifacts are kept below `home`, else in a temporary
    folder. Raises StorageError where `home` is no folder that can be written, nothing for what goes wrong in a cell.
    """
    chosen = list(nets) if nets is not None else _quick() if quick else list(NETS)
    cells: list[Cell] = []
    with ExitStack() as held:
        folder = home or Path(held.enter_context(tempfile.TemporaryDirectory(prefix="autoopt-matrix-")))
        writable_folder(folder)
        children = {name: held.enter_context(Child("autoopt.compress.matrix_process")) for name in RUNTIMES}
        for net in chosen:
            workload = load_workload(SOURCE, None, folder, {"net": net})
            with Maker(workload, _weights(workload, folder), Store(folder / "store"), current_host()) as maker:
                for cell in _Row(net, workload, maker, children, folder, timed).cells(techniques):
                    cells.append(cell)
                    on_cell(cell)
    return cells


def count(*, quick: bool = False) -> int:
    """How many cells there are."""
    return len(_quick() if quick else NETS) * len(TECHNIQUES) * len(RUNTIMES)


class _Row:
    """All cells of one network."""

    def __init__(
        self, net: str, workload: Workload, maker: Maker, children: Mapping[str, Child], folder: Path, timed: bool
    ) -> None:
        self._net, self._workload, self._maker, self._children = net, workload, maker, children
        self._folder, self._timed, self._host = folder, timed, current_host()
        self._wanted: dict[str, np.ndarray] = {}
        self._float: dict[str, tuple[str, Mapping[str, Scalar]]] = {}
        self._batches = folder / "batches.npy"
        tiles = [workload.pipeline.prepare(case.read().image, None)[0][:1] for case in workload.splits.val[:BATCHES]]
        np.save(self._batches, np.stack(tiles), allow_pickle=False)

    def cells(self, techniques: Iterable[str]) -> Iterable[Cell]:
        """PyTorch's float network first: all answers are compared with its own."""
        for name in sorted(RUNTIMES, key=lambda name: name != "torch"):
            seen: dict[Configuration, str] = {}
            for technique in techniques:
                yield self._cell(technique, TECHNIQUES[technique], name, seen)

    def _cell(self, technique: str, sections: Settings, name: str, seen: dict[Configuration, str]) -> Cell:
        configuration = _configuration(sections, name, self._host)
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
        stages = Stages(lambda stage: None)
        artifact = make(configuration, self._maker, self._workload.pipeline, stages)[-1]
        subject = (str(artifact.path), settings)
        if is_float:
            self._float[name] = subject
        elif name not in self._float:
            raise Crash(f"the float network must run in {name} to be compared with, it does not")
        answers = self._folder / "answers.npy"
        job = {
            "artifact": subject,
            "batches": str(self._batches),
            "answers": str(answers),
            "twin": self._float[name] if self._timed and not is_float else None,
        }
        with host_lock(LOCK, timeout_s=LOCK_WAIT_S) if self._timed else nullcontext():
            seconds = self._children[name].call(job, stage="measure", timeout_s=TIMEOUT_S)["seconds"]
        found = np.load(answers, allow_pickle=False)
        network = canonical_json({item: configuration.section(item) for item in net_steps()})
        wanted = self._wanted.setdefault(network, found)
        return None if seconds is None else seconds[1] / seconds[0], _agreement_db(found, wanted)


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
    if name == "torch":
        return "the graph is quantized, PyTorch runs the network"
    return f"{name} computes the same with weights of fewer bits: they need OpenVINO"


def _agreement_db(found: np.ndarray, wanted: np.ndarray) -> float | None:
    """Signal to noise in decibels; None where nothing differs."""
    noise = float(np.mean((found.astype(np.float64) - wanted) ** 2))
    return None if noise == 0 else float(10 * np.log10(max(float(np.var(wanted)), 1e-30) / noise))


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

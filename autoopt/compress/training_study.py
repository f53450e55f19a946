"""`autoopt training-study`: the same networks trained in several ways, and what each way takes and gives.

A row is one network (one choice of the workload's options), one arm of `nets/training_arms.py` and one seed. It is
trained in a process of its own, so that the most memory of that process is its own, and what crashes is one row. Each
row is stored as soon as it is known: a study that was interrupted goes on with the next one. Then the trained network
is quantized, and tried beside itself in float.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from autoopt import __version__
from autoopt.compress import step
from autoopt.compress.chain import Stages, make
from autoopt.compress.maker import KEEPS_FREED_MEMORY, TRAINING_TIMEOUT_S, Maker
from autoopt.core.configuration import Configuration, Scalar, canonical_json, digest
from autoopt.core.host import Host
from autoopt.core.packages import SEARCH, needs
from autoopt.core.plain_text import parse_json
from autoopt.core.process import Child, thread_limits
from autoopt.core.store import Store, writable_folder, write_atomic
from autoopt.errors import StorageError, TrialError, Unsupported, UsageError
from autoopt.inference.runtimes import RUNTIMES, has_network, runtime
from autoopt.measure.emissions import grams
from autoopt.measure.quality import primary_sign
from autoopt.measure.target import LocalTarget, Target
from autoopt.nets.training_arms import ARMS, why_skipped
from autoopt.workloads.contract import Workload
from autoopt.workloads.loading import load_workload

CHILD = "autoopt.compress.training_study_process"
COMPLETE, SKIPPED, FAILED = "complete", "skipped", "failed"
SEEDS = (1, 10, 100)
"""Those of Selvan, Schön and Dam 2023."""
INT8 = "int8"
FOLDER = "training"
"""Below the home folder: a file for each row, the weights, what torch compiled."""
INFER_TIMEOUT_S = 900.0


@dataclass(frozen=True)
class Row:
    """One training, and the INT8 network of it.

    `metric` is the primary one of the workload. `status` is complete, skipped (it cannot run here) or failed, with the
    `reason`. `trained` has the fields of `nets.training_arms.Trained`, and `co2_g` where a country was given; `int8`
    the `scores` on val, the `seconds` of a call and the `float_seconds` of the same network in float in the same
    `runtime`, or a `reason`.
    """

    network: str
    options: Mapping[str, Scalar]
    arm: str
    seed: int
    metric: str
    status: str = COMPLETE
    reason: str = ""
    trained: Mapping[str, Any] = field(default_factory=dict)
    int8: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrainingStudy:
    """All rows of a study, and what they are of: the title of the first network and the primary metric.

    `threads` are those of each training on `host`. `why_no_energy` says why no row has joules; empty where they have.
    """

    title: str
    metric: str
    less_is_better: bool
    rows: Sequence[Row]
    host: Host
    threads: int
    why_no_energy: str = ""


@dataclass(frozen=True)
class StudyPlan:
    """What a study trains: every combination of `vary` (values by the name of an option), arms and seeds.

    Without `threads` the cores of the host, without `steps` all of the recipe.
    """

    workload: str
    data: Path | None = None
    options: Mapping[str, Scalar] = field(default_factory=dict)
    vary: Mapping[str, Sequence[Scalar]] = field(default_factory=dict)
    arms: Sequence[str] = tuple(ARMS)
    seeds: Sequence[int] = SEEDS
    steps: int | None = None
    country: str | None = None
    threads: int | None = None

    def __post_init__(self) -> None:
        problems = []
        unknown = [arm for arm in self.arms if arm not in ARMS]
        if unknown or not self.arms:
            problems.append(f"--arms must be some of {', '.join(ARMS)}, got {', '.join(unknown) or 'none'}")
        if not self.seeds:
            problems.append("--seeds must be whole numbers such as 1,10,100, got none")
        if self.steps is not None and self.steps < 2:
            problems.append(f"--steps must be at least 2, as the first is not timed, got {self.steps}")
        if self.threads is not None and self.threads < 1:
            problems.append(f"--threads must be at least 1, got {self.threads}")
        both = sorted({*self.options} & {*self.vary})
        if both:
            problems.append(f"an option must be in --option or in --vary, {', '.join(both)} is in both")
        if problems:
            raise UsageError(*problems)

    @property
    def networks(self) -> list[dict[str, Scalar]]:
        """The options of each network, those that vary alone."""
        return [dict(zip(self.vary, values, strict=True)) for values in itertools.product(*self.vary.values())]

    @property
    def count(self) -> int:
        """The number of rows."""
        return len(self.networks) * len(self.arms) * len(self.seeds)


@needs(*SEARCH)
def training_study(
    plan: StudyPlan,
    home: Path,
    *,
    on_row: Callable[[Row], None] = lambda row: None,
    target: Target | None = None,
    timeout_s: float = TRAINING_TIMEOUT_S,
) -> TrainingStudy:
    """Train and try every row of the plan that `home` does not have yet; each goes to `on_row` once it is known.

    What a row cannot do is its status. Raises UsageError for a workload that cannot be loaded with an option, before
    anything is trained, and StorageError for a home folder that cannot be written.
    """
    target, folder = target or LocalTarget(), writable_folder(home) / FOLDER
    workloads = [load_workload(plan.workload, plan.data, home, {**plan.options, **item}) for item in plan.networks]
    if plan.country is not None:
        grams(0.0, plan.country)  # a country that is unknown, or codecarbon that is missing, is told now
    found = []
    for options, workload in zip(plan.networks, workloads, strict=True):
        bench = _Bench(workload, plan, folder, target, timeout_s)
        for arm, seed in itertools.product(plan.arms, plan.seeds):
            row = bench.row(Row(_name(options, workload), options, arm, seed, workload.metrics[0]))
            found.append(row)
            on_row(row)
    first, less = workloads[0], primary_sign(workloads[0]) < 0
    threads = plan.threads or target.host.cores
    return TrainingStudy(first.title, first.metrics[0], less, found, target.host, threads, target.why_no_energy())


class _Bench:
    """Makes rows of one network."""

    def __init__(self, workload: Workload, plan: StudyPlan, folder: Path, target: Target, timeout_s: float) -> None:
        self._workload, self._plan, self._folder, self._target = workload, plan, folder, target
        self._timeout_s = timeout_s
        self._threads = plan.threads or target.host.cores

    def row(self, asked: Row) -> Row:
        """The row, from its file where it is complete, else made and stored."""
        reason = why_skipped(asked.arm)
        if reason:
            return replace(asked, status=SKIPPED, reason=reason)
        path = self._folder / "rows" / f"{self._key(asked)}.json"
        kept = _stored(path)
        if kept is None:
            kept = self._made(asked)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, canonical_json(asdict(kept)).encode())
        return self._with_emissions(kept)

    def _key(self, asked: Row) -> str:
        """All that decides what a row says."""
        workload = self._workload
        return digest(
            {
                "workload": workload.name,
                "data": workload.data_digest,
                "recipe": workload.recipe.identity(),
                "pipeline": workload.pipeline.to_json(),
                "arm": asked.arm,
                "seed": asked.seed,
                "steps": self._plan.steps,
                "threads": self._threads,
                "host": self._target.host.fingerprint,
                "version": __version__,
            }
        )

    def _made(self, asked: Row) -> Row:
        try:
            trained = self._train(asked)
        except TrialError as error:
            status = SKIPPED if isinstance(error, Unsupported) else FAILED
            return replace(asked, status=status, reason=error.message)
        try:
            int8 = self._int8(Path(str(trained["weights"])))
        except TrialError as error:
            int8 = {"reason": error.message}
        return replace(asked, trained=trained, int8=int8)

    def _train(self, asked: Row) -> dict[str, Any]:
        assert self._workload.origin is not None
        compiled = {"TORCHINDUCTOR_CACHE_DIR": str((self._folder / "compiled").resolve())}
        request = {
            "origin": asdict(self._workload.origin),
            "arm": asked.arm,
            "seed": asked.seed,
            "steps": self._plan.steps,
            "threads": self._threads,
            "folder": str((self._folder / "weights").resolve()),
        }
        environment = {**thread_limits(self._threads), **KEEPS_FREED_MEMORY, **compiled}
        with self._target.exclusive(), Child(CHILD, environment=environment) as child:
            return child.call("train", request, stage="train", timeout_s=self._timeout_s)

    def _int8(self, weights: Path) -> dict[str, Any]:
        """The trained network as INT8 beside itself in float, in the first runtime that makes use of INT8."""
        assert self._workload.origin is not None
        host, store = self._target.host, Store(self._folder.parent / "store")
        name = next(name for name in RUNTIMES if has_network(name) and INT8 in runtime(name).SCHEMES)
        executed = {**runtime(name).canonical({"threads": self._threads, "spinning": False}, host), "name": name}
        quantized = step("quantize").canonical({"scheme": INT8}, executed, host)
        assert quantized is not None
        with Maker(self._workload, weights, store, LocalTarget().host, target=self._target) as maker:
            stages = Stages(lambda stage: None)
            configurations = [Configuration.of({"quantize": quantized, "runtime": executed})]
            configurations.append(Configuration.of({"runtime": executed}))
            made = [make(item, maker, self._workload.pipeline, stages)[-1] for item in configurations]
        artifacts = [
            (self._target.put(item), dict(configuration.runtime))
            for item, configuration in zip(made, configurations, strict=True)
        ]
        request = {"origin": asdict(self._workload.origin), "artifacts": artifacts}
        with self._target.exclusive(), self._target.worker(CHILD, threads=self._threads) as child:
            answer = child.call("infer", request, stage="measure", timeout_s=INFER_TIMEOUT_S)
        seconds, float_seconds = answer["seconds"]
        return {"runtime": name, "scores": answer["scores"], "seconds": seconds, "float_seconds": float_seconds}

    def _with_emissions(self, row: Row) -> Row:
        joules = row.trained.get("joules")
        if joules is None or self._plan.country is None:
            return row
        return replace(row, trained={**row.trained, "co2_g": grams(joules, self._plan.country)})


def _name(options: Mapping[str, Scalar], workload: Workload) -> str:
    """What a network is called: the values that vary, else the name of the workload."""
    return " ".join(f"{name}={value}" for name, value in options.items()) or workload.name


def _stored(path: Path) -> Row | None:
    """The row in a file; None where there is none, or it failed: then it is tried again. Raises StorageError."""
    if not path.is_file():
        return None
    try:
        row = Row(**parse_json(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise StorageError(f"{path} must be a row of a training study: delete it, and the row is made again") from error
    return row if row.status == COMPLETE else None

"""The public functions: what the commands do, from Python. Re-exported by `import autoopt`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autoopt.core.configuration import Scalar
from autoopt.study.request import Request, check_data_argument, default_storage

if TYPE_CHECKING:
    from autoopt.compress.matrix import Cell
    from autoopt.deploy.bundle import Predictor
    from autoopt.measure.timing import Plan as MeasuringPlan
    from autoopt.nets.baseline import TrainProgress, TrainResult
    from autoopt.report.diagnosis import Explanation
    from autoopt.report.layer_ranking import LayerRanking
    from autoopt.study.loop import Listener, SearchResult
    from autoopt.study.plan import Plan
    from autoopt.study.replay import Replay
    from autoopt.study.result import StudyResult
    from autoopt.study.sink import Sink

PathLike = str | Path


def search(
    workload: str = "histo",
    *,
    options: Mapping[str, Scalar] | None = None,
    budget: int = 50,
    time_s: float | None = None,
    data: PathLike | None = None,
    weights: PathLike | None = None,
    space: PathLike | None = None,
    objectives: Sequence[str] = ("latency", "quality"),
    max_drop: float | None = 0.01,
    max_latency_s: float | None = None,
    guards: Mapping[str, float] | None = None,
    study: str | None = None,
    storage: str | None = None,
    tracking_uri: str | None = None,
    seed: int = 0,
    home: PathLike = "mlruns",
    listener: Listener | None = None,
    sinks: Sequence[Sink] = (),
    plan: MeasuringPlan | None = None,
) -> SearchResult:
    """Search compression configurations of a workload on this host; the result has `.front`.

    `workload` is a built-in name, file.py:function, package.module:function, or "model:" and an ONNX file, the folder
    of a MONAI bundle or a builder; `options` are its own, such as {"net": "vgg11"}.
    The same call continues an interrupted study; `budget` counts all of its trials. Without `data`
    the workload's demo data is used. `guards` are further limits, such as {"worst_decile": 0.03}: see
    `autoopt.study.limits`. `listener` is told the progress, `sinks` get every record beside MLflow; `plan` says how
    long each trial is measured. Raises UsageError for bad input.
    """
    from autoopt.study import loop
    from autoopt.tracking import Tracker, default_tracking_uri, warm_up_in_background

    request = Request(
        workload=workload,
        options=options or {},
        budget=budget,
        time_s=time_s,
        data=_path(data),
        weights=_path(weights),
        space=None if space is None else str(space),
        objectives=tuple(objectives),
        max_drop=max_drop,
        max_latency_s=max_latency_s,
        guards=guards or {},
        study=study,
        storage=storage,
        tracking_uri=tracking_uri,
        seed=seed,
        home=Path(home),
    )
    warm_up_in_background()  # importing MLflow takes seconds
    tracker = Tracker(tracking_uri or default_tracking_uri(request.home), request.home)
    return loop.search(request, sinks=(tracker, *sinks), listener=listener or loop.silent, plan=plan)


def plan(
    workload: str = "histo",
    *,
    options: Mapping[str, Scalar] | None = None,
    budget: int = 50,
    data: PathLike | None = None,
    weights: PathLike | None = None,
    space: PathLike | None = None,
    objectives: Sequence[str] = ("latency", "quality"),
    study: str | None = None,
    storage: str | None = None,
    seed: int = 0,
    home: PathLike = "mlruns",
) -> Plan:
    """What `search` with the same arguments would do and cost; makes nothing, times at most a call of the network."""
    from autoopt.study import plan as planning
    from autoopt.study.request import prepare

    request = Request(
        workload=workload,
        options=options or {},
        budget=budget,
        data=_path(data),
        weights=_path(weights),
        space=None if space is None else str(space),
        objectives=tuple(objectives),
        study=study,
        storage=storage,
        seed=seed,
        home=Path(home),
    )
    return planning.plan_search(prepare(request))


def sensitivity(
    workload: str = "histo",
    *,
    options: Mapping[str, Scalar] | None = None,
    data: PathLike | None = None,
    weights: PathLike | None = None,
    home: PathLike = "mlruns",
    on_stage: Callable[[str], None] = lambda stage: None,
) -> LayerRanking:
    """The groups of layers of a workload's network, those first that are worth keeping in float on this host.

    What `quantize.keep_float` of a space goes along. Kept: the second time it is only read. Raises UsageError.
    """
    from autoopt.report import layer_ranking
    from autoopt.study.request import prepare

    request = Request(
        workload=workload, options=options or {}, data=_path(data), weights=_path(weights), home=Path(home)
    )
    return layer_ranking.rank_layers(prepare(request), on_stage=on_stage)


def matrix(
    *,
    quick: bool = False,
    timed: bool = True,
    home: PathLike | None = None,
    on_cell: Callable[[Cell], None] = lambda cell: None,
) -> list[Cell]:
    """Every compression on small networks of every family in every runtime, on this host: works, or refused and why.

    With `quick` one network of each family. The networks have random weights: see `autoopt.compress.matrix`.
    """
    from autoopt.compress import matrix as module

    return module.matrix(quick=quick, timed=timed, home=_path(home), on_cell=on_cell)


def front(
    *, study: str | None = None, workload: str | None = None, storage: str | None = None, home: PathLike = "mlruns"
) -> StudyResult:
    """A stored study: the named one, else the last one written (of `workload`). Raises StorageError."""
    from autoopt.study.storage import read_study

    return read_study(storage or default_storage(Path(home)), study, workload)


def replay(
    trial: str | int,
    *,
    study: str | None = None,
    storage: str | None = None,
    home: PathLike = "mlruns",
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Replay:
    """Run one stored trial again, alone; nothing is added to its study."""
    from autoopt.study import replay as replaying

    return replaying.replay_trial(str(trial), study=study, home=Path(home), storage=storage, on_stage=on_stage)


def explain(
    trial: str | int,
    *,
    against: str | int | None = None,
    study: str | None = None,
    storage: str | None = None,
    home: PathLike = "mlruns",
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Explanation:
    """Why a stored trial is faster or slower than `against` (its float twin by default): `.sentences` and the profiles.

    Profiles both, on this host; nothing is added to the study. Raises UsageError.
    """
    from autoopt.report import explain as explaining

    other = None if against is None else str(against)
    return explaining.explain_trial(
        str(trial), against=other, study=study, home=Path(home), storage=storage, on_stage=on_stage
    )


def pull(
    out: PathLike,
    *,
    workload: str | None = None,
    study: str | None = None,
    max_latency_s: float | None = None,
    max_drop: float | None = None,
    pick: str | None = None,
    storage: str | None = None,
    home: PathLike = "mlruns",
) -> tuple[Path, str]:
    """Pick a front member by policy and write it to `out` as a bundle; returns the folder and why it was picked.

    Raises NothingFits when no member keeps the limits, naming the limit that binds.
    """
    from autoopt.core.store import Store
    from autoopt.deploy import pick as deploy

    result = front(study=study, workload=workload, storage=storage, home=home)
    choice = deploy.choose(result, max_latency_s=max_latency_s, max_drop=max_drop, pick=pick)
    return deploy.pull(result, choice, Store(Path(home) / "store"), Path(out)), choice.explanation


def load(folder: PathLike) -> Predictor:
    """The model of a bundle, its files verified, ready to predict; needs numpy and the one runtime."""
    from autoopt.deploy import bundle

    return bundle.load(Path(folder))


def train(
    workload: str = "histo",
    *,
    options: Mapping[str, Scalar] | None = None,
    data: PathLike | None = None,
    demo: bool = False,
    home: PathLike = "mlruns",
    seed: int = 0,
    max_seconds: float | None = None,
    progress: Callable[[TrainProgress], None] | None = None,
) -> TrainResult:
    """Train the workload's baseline and store its weights where `search` finds them."""
    from autoopt.core.store import writable_folder
    from autoopt.nets import baseline
    from autoopt.workloads.loading import load_workload

    folder = None if demo else check_data_argument(_path(data), needed_for=f"training {workload}")
    home = writable_folder(Path(home))
    loaded = load_workload(workload, folder, home, options)
    return baseline.train(loaded, home, progress=progress, seed=seed, max_seconds=max_seconds, half=demo)


def _path(value: PathLike | None) -> Path | None:
    return None if value is None else Path(value)

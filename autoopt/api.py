"""The public functions: what the commands do, from Python. Re-exported by `import autoopt`, beside `load`."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from autoopt.core.packages import SEARCH, STUDIES, needs
from autoopt.study.request import HOME, Facts, PathLike, SearchRequest, default_storage, requested, showing_facts

if TYPE_CHECKING:
    from autoopt.compress.matrix import Cell
    from autoopt.core.configuration import Scalar
    from autoopt.deploy import predict_files
    from autoopt.deploy.check import Checked
    from autoopt.deploy.remeasure import Again
    from autoopt.measure.timing import MeasuringPlan
    from autoopt.nets.baseline import TrainProgress, TrainResult
    from autoopt.report.explanation import Explanation
    from autoopt.report.layer_ranking import LayerRanking
    from autoopt.report.page.report_file import ReportFacts
    from autoopt.report.trial_diff import TrialDiff
    from autoopt.study.again import StudyAgain
    from autoopt.study.events import Listener, SearchResult
    from autoopt.study.garbage import Collected
    from autoopt.study.plan import SearchPlan
    from autoopt.study.replay import Replay
    from autoopt.study.result import StudyResult
    from autoopt.study.sink import Sink
    from autoopt.tracking.register import Registration


@showing_facts
@needs(*SEARCH)
def search(
    request: SearchRequest | str | None = None,
    /,
    *,
    listener: Listener | None = None,
    sinks: Sequence[Sink] = (),
    plan: MeasuringPlan | None = None,
    **facts: Unpack[Facts],
) -> SearchResult:
    """Search compression configurations of a workload; the result has `.front`.

    `request` is a `SearchRequest`, or the workload: a built-in name, file.py:function, package.module:function, or
    "model:" and a model. `facts` are fields of the request, such as budget=50: `help(autoopt.SearchRequest)` explains
    each. The same call continues an interrupted study; the budget counts all of its trials. `listener` is told the
    progress, `sinks` get every record beside MLflow; `plan` says how long each trial is measured. Where `tracking_uri`
    is a server, `register` follows. Raises UsageError.
    """
    from autoopt.fleet.driving import assembled
    from autoopt.study import events, loop
    from autoopt.tracking import warm_up_in_background
    from autoopt.tracking.own_sinks import own_sinks

    asked = requested(request, facts)
    warm_up_in_background()  # importing MLflow takes seconds
    every = (*own_sinks(asked), *sinks)
    with assembled(asked, plan) as (asked, machines):
        return loop.search(asked, sinks=every, listener=listener or events.silent, plan=plan, **machines)


@showing_facts
@needs(*SEARCH)
def plan(request: SearchRequest | str | None = None, /, **facts: Unpack[Facts]) -> SearchPlan:
    """What `search` with the same arguments would do and cost.

    Makes no artifact and runs no trial; at most a call of the network is timed. Raises UsageError for bad input.
    """
    from autoopt.fleet.driving import assembled
    from autoopt.study.effort import planned
    from autoopt.study.prepare import prepare

    with assembled(requested(request, facts)) as (asked, _), contextlib.closing(prepare(asked)) as prepared:
        return planned(prepared)


@showing_facts
@needs(*SEARCH)
def sensitivity(
    request: SearchRequest | str | None = None,
    /,
    *,
    on_stage: Callable[[str], None] = lambda stage: None,
    **facts: Unpack[Facts],
) -> LayerRanking:
    """The groups of layers of a workload's network, those first that are worth keeping in float on this host.

    It is the order in which `quantize.keep_float` of a space keeps them. Of the request only workload, options, data,
    weights and home matter. The ranking is stored and read the next time. Raises UsageError for bad input.
    """
    from autoopt.report import layer_ranking
    from autoopt.study.prepare import prepare

    return layer_ranking.rank_layers(prepare(requested(request, facts)), on_stage=on_stage)


@needs(*SEARCH)
def matrix(
    *,
    quick: bool = False,
    timed: bool = True,
    home: PathLike | None = None,
    on_cell: Callable[[Cell], None] = lambda cell: None,
) -> list[Cell]:
    """Try every compression on small networks of every family in every runtime, on this host; one cell each.

    A cell says that it works, or why it was refused. The networks have random weights; with `quick` one of each family.
    """
    from autoopt.compress import matrix as module

    return module.matrix(quick=quick, timed=timed, home=None if home is None else Path(home), on_cell=on_cell)


@needs(*STUDIES)
def front(
    *, study: str | None = None, workload: str | None = None, storage: str | None = None, home: PathLike = HOME
) -> StudyResult:
    """A stored study: the one called `study`, else the last one, of `workload` if given. Raises StorageError."""
    from autoopt.study.storage import read_study

    return read_study(storage or default_storage(Path(home)), study, workload)


@needs(*STUDIES)
def report(
    study: str | None = None, against: str | None = None, *, home: PathLike = HOME, **facts: Unpack[ReportFacts]
) -> str:
    """The report of a stored study, named as for `front`, as HTML; or of two beside each other, STUDY or HOME/STUDY.

    `ReportFacts` says what can be asked of the report of one study.
    """
    from autoopt.report.page import comparison, report_file

    if study is not None and against is not None:
        return comparison.comparison_text((study, against), Path(home), facts.get("storage"))
    return report_file.stored_report(study, Path(home), **facts)


@needs(*STUDIES)
def gc(*, storage: str | None = None, home: PathLike = HOME, most_bytes: int = 0) -> Collected:
    """Remove the artifacts of a home folder that no study needs, until at most `most_bytes` are left in its store.

    A study needs its front, its references and what these were made from; the rest is made again when it is asked for.
    Raises BusyError while a study of the storage is searched.
    """
    from autoopt.study.garbage import collect

    return collect(Path(home), storage or default_storage(Path(home)), most_bytes=most_bytes)


@needs(*SEARCH)
def replay(
    trial: str | int,
    *,
    study: str | None = None,
    storage: str | None = None,
    home: PathLike = HOME,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Replay:
    """Run one stored trial again, alone; nothing is added to its study.

    `trial` is its number, or "STUDY/NUMBER". Raises UsageError when its workload, weights or data changed since.
    """
    from autoopt.study import replay as replaying

    return replaying.replay_trial(str(trial), study=study, home=Path(home), storage=storage, on_stage=on_stage)


@needs(*SEARCH)
def explain(
    trial: str | int,
    *,
    against: str | int | None = None,
    study: str | None = None,
    storage: str | None = None,
    home: PathLike = HOME,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Explanation:
    """Why a stored trial is faster or slower than `against`: `.sentences` and the profiles of both.

    `against` is by default the trial without quantization and with otherwise the same configuration. Both are profiled
    on this host; nothing is added to the study. Raises UsageError.
    """
    from autoopt.report import explain as explaining

    other = None if against is None else str(against)
    return explaining.explain_trial(
        str(trial), against=other, study=study, home=Path(home), storage=storage, on_stage=on_stage
    )


@needs(*STUDIES)
def diff(
    before: str | int, after: str | int, *, study: str | None = None, storage: str | None = None, home: PathLike = HOME
) -> TrialDiff:
    """What changes from one stored trial to another; each is a number, "STUDY/NUMBER" or "HOME/STUDY/NUMBER"."""
    from autoopt.report.trial_diff import read_trials

    return read_trials(str(before), str(after), study=study, home=Path(home), storage=storage)


def pull(
    out: PathLike,
    source: PathLike | None = None,
    *,
    workload: str | None = None,
    study: str | None = None,
    max_latency_s: float | None = None,
    max_drop: float | str | None = None,
    max_memory_bytes: int | None = None,
    max_size_bytes: int | None = None,
    min_quality: float | None = None,
    min_throughput: float | None = None,
    pick: str | None = None,
    self_test: bool = True,
    host: str | None = None,
    storage: str | None = None,
    tracking_uri: str | None = None,
    home: PathLike = HOME,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> tuple[Path, str]:
    """Write a model to the folder `out` as a bundle; returns the folder and the reason.

    Without `source` and `tracking_uri` it is picked from the front of a study of this machine: the limits are those of
    a `SearchRequest` and replace the search's own; `pick` is fastest, balanced, best-quality or smallest. With
    `tracking_uri` the same is answered from what `register` put into that registry, of the `host` with this
    fingerprint. `source` is models:/NAME@ALIAS or models:/NAME/VERSION there, or the folder or the ZIP of a bundle.
    With `self_test` a model of this machine is run here, so that `check` can tell later whether it is what it was.
    Raises NothingFits when nothing keeps the limits, naming the limit that rules it out.
    """
    from autoopt.deploy import pull as deploy
    from autoopt.deploy import pull_from
    from autoopt.study.limit_arguments import LimitArguments
    from autoopt.tracking.registries import registry_at

    asked = LimitArguments(max_drop, max_latency_s, max_memory_bytes, max_size_bytes, min_quality, min_throughput)
    wish = pull_from.Wish(asked, pick=pick, host=host, study=study, workload=workload)
    place = pull_from.Place(Path(home), storage, tracking_uri)

    read = functools.partial(front, study=study, workload=workload, storage=storage, home=home)
    write = functools.partial(deploy.pull, self_test=self_test, on_stage=on_stage)
    named = None if source is None else str(source)
    return pull_from.pull_from(named, wish, place, Path(out), registry_at, read, write=write)


@needs("mlflow", *STUDIES)
def register(
    *,
    study: str | None = None,
    workload: str | None = None,
    storage: str | None = None,
    tracking_uri: str | None = None,
    home: PathLike = HOME,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Registration:
    """Put the front of a study into MLflow's model registry, from where `pull` gets it anywhere.

    Each member is a version of autoopt-WORKLOAD; what is there already is not added again. Aliases name what the
    policies of `pull` pick. Raises NothingFits for an empty front, TrackingError.
    """
    from autoopt.core.store import Store
    from autoopt.measure.target import LocalTarget
    from autoopt.tracking import default_tracking_uri
    from autoopt.tracking.register import register as publish

    home = Path(home)
    result = front(study=study, workload=workload, storage=storage, home=home)
    uri = tracking_uri or default_tracking_uri(home)
    return publish(result, Store(home / "store"), uri, home, LocalTarget().host.fingerprint, on_stage=on_stage)


def check(
    folder: PathLike,
    *,
    verify: PathLike | None = None,
    gate: float | None = None,
    timed: bool = True,
    server: str | None = None,
    model: str | None = None,
    on_stage: Callable[[str], None] = lambda stage: None,
) -> Checked:
    """Check a bundle on this host: `.passed`, and `.findings` in words.

    With `server`, an address, its network is asked there (called `model`) and nothing runs here.
    `verify` is the file of the public key that it must be signed with. `gate`, such as 1.1, is how many times as long a
    call may take as when the bundle was written; nothing is timed unless it is `timed`.
    """
    from autoopt.deploy import check as module
    from autoopt.deploy.check_server import check_server

    if server is not None:
        return check_server(folder, server, model=model, verify=verify)
    return module.check(folder, verify=verify, gate=gate, timed=timed, on_stage=on_stage)


def remeasure(
    bundles: Sequence[PathLike], *, on_stage: Callable[[str], None] = lambda stage: None
) -> tuple[Again, ...]:
    """Measure bundles of one workload again on this host: of each what is found now, and whether it `.stays`."""
    from autoopt.deploy import remeasure as module

    return module.remeasure(bundles, on_stage=on_stage)


@needs(*SEARCH)
def remeasure_study(
    study: str | None = None,
    *,
    workload: str | None = None,
    storage: str | None = None,
    tracking_uri: str | None = None,
    home: PathLike = HOME,
    listener: Listener | None = None,
    plan: MeasuringPlan | None = None,
) -> StudyAgain:
    """Measure the references and the front of a stored study again on this host, from the artifacts that it made.

    It becomes a study of its own, `.after`, in the storage and in MLflow; `.members` say which of the front stay.
    Raises NothingFits for an empty front, UsageError when workload, weights or data changed since.
    """
    from autoopt.study import again
    from autoopt.study.events import silent
    from autoopt.tracking import Tracker, default_tracking_uri

    home = Path(home)
    before = front(study=study, workload=workload, storage=storage, home=home)
    tracker = Tracker(tracking_uri or default_tracking_uri(home), home)
    url = storage or default_storage(home)
    return again.measure_again(before, home, url, sinks=[tracker], plan=plan, listener=listener or silent)


def sign(folder: PathLike, key: PathLike) -> Path:
    """Sign a bundle with the private Ed25519 key in the file `key`; returns the file of the signature."""
    from autoopt.deploy.writer import sign_bundle

    return sign_bundle(Path(folder), Path(key))


def predict(
    bundle: PathLike,
    inputs: Sequence[PathLike],
    out: PathLike,
    *,
    listener: predict_files.Listener = lambda event: None,
    **wanted: Unpack[predict_files.Wanted],
) -> predict_files.Predicted:
    """The answers of a bundle for image files and folders of them, written to the folder `out`.

    A file that cannot be read or predicted is in `.failed` of the result, with the reason; the others go on. `listener`
    is told after each. `overlay`, `probabilities`, `mask_format` and `series` are those of
    `autoopt.deploy.predict_files.Wanted`. Raises UsageError for bad input.
    """
    from autoopt.deploy.predict_files import predict_files

    paths = [Path(item) for item in inputs]
    return predict_files(Path(bundle), paths, Path(out), listener=listener, **wanted)


@needs(*SEARCH)
def train(
    workload: str = "histo",
    *,
    options: Mapping[str, Scalar] | None = None,
    data: PathLike | None = None,
    demo: bool = False,
    home: PathLike = HOME,
    seed: int = 0,
    max_seconds: float | None = None,
    progress: Callable[[TrainProgress], None] | None = None,
    on_remark: Callable[[str], None] = lambda remark: None,
) -> TrainResult:
    """Train the workload's baseline and store its weights where `search` finds them.

    `demo` trains on the demo data instead of `data`. The recipe is done to its end, unless that takes more than
    `max_seconds`: then steps are left out, and the result's `left_out` says how many. The same call after an interrupt
    goes on from the last epoch, and `on_remark` is told so. Raises UsageError for bad input, and Interrupted, a
    KeyboardInterrupt whose message says what is kept.
    """
    from autoopt.core.store import writable_folder
    from autoopt.nets import baseline
    from autoopt.study.prepare import check_data_argument
    from autoopt.workloads.loading import load_workload

    given = None if data is None else Path(data)
    folder = None if demo else check_data_argument(given, needed_for=f"training {workload}")
    home = writable_folder(Path(home))
    loaded = load_workload(workload, folder, home, options)
    return baseline.train(
        loaded, home, progress=progress, seed=seed, max_seconds=max_seconds, half=demo, on_remark=on_remark
    )

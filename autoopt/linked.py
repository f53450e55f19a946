"""A search on two targets, from Python: `autoopt search` with two --target does the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from autoopt.core.packages import SEARCH, STUDIES, needs
from autoopt.errors import UsageError
from autoopt.study.request import HOME, PathLike, SearchRequest, default_storage

if TYPE_CHECKING:
    from autoopt.core.configuration import Configuration
    from autoopt.measure.timing import MeasuringPlan
    from autoopt.study.events import Listener, SearchResult
    from autoopt.study.linked import BothFronts
    from autoopt.study.result import StudyResult
    from autoopt.study.sink import Sink


@needs(*SEARCH)
def search_both(
    request: SearchRequest,
    /,
    *,
    search: Callable[[SearchRequest], SearchResult] | None = None,
    listening: Callable[[], AbstractContextManager[Listener]] | None = None,
    plan: MeasuringPlan | None = None,
    sinks_of: Callable[[SearchRequest], Sequence[Sink]] | None = None,
) -> BothFronts:
    """Search a request with two targets: a study for each, and each front measured on the other target too.

    `search` runs the request of one target, by default `autoopt.search`; the listener of `listening` is told of the
    trials that come after both, and `sinks_of` a request get them, by default its own. `plan` says how long each is
    measured. The same call continues what was interrupted.
    Raises UsageError, also where both targets are machines of one kind.
    """
    from autoopt import api
    from autoopt.study.events import silent
    from autoopt.study.linked import measure_on_both, one_per_target
    from autoopt.tracking.own_sinks import own_sinks

    requests = one_per_target(request)
    if len(requests) == 1:
        raise UsageError(f"two --target must be named, got {request.target}: autoopt.search takes one")
    run = search or partial(api.search, plan=plan)
    studies = [run(item).study for item in requests]
    told = listening or (lambda: nullcontext(silent))
    add = partial(_add, plan=plan, listening=told, sinks_of=sinks_of or own_sinks)
    return measure_on_both(requests, studies, add)


@needs(*STUDIES)
def compare(first: str, second: str, *, storage: str | None = None, home: PathLike = HOME) -> BothFronts:
    """Which members of the front of each stored study, STUDY or HOME/STUDY, have a place on that of the other.

    Runs nothing. Raises NoStudy, and UsageError where the studies are not of the same model and data.
    """
    from autoopt.study.linked import both_fronts
    from autoopt.study.named import named_study

    url = storage or default_storage(Path(home))
    return both_fronts(named_study(first, url), named_study(second, url))


def _add(
    request: SearchRequest,
    wanted: Sequence[Configuration],
    linked: str,
    *,
    plan: MeasuringPlan | None,
    listening: Callable[[], AbstractContextManager[Listener]],
    sinks_of: Callable[[SearchRequest], Sequence[Sink]],
) -> StudyResult:
    from autoopt.fleet.driving import assembled
    from autoopt.study.linked import add_trials

    with listening() as listener, assembled(request, plan) as (asked, machines):
        runner = machines.get("runner")
        return add_trials(asked, wanted, linked, sinks=sinks_of(asked), plan=plan, listener=listener, runner=runner)

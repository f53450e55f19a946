"""What `autoopt search` does with its request, on one target or on two, and how it shows it."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from autoopt.measure.timing import MeasuringPlan
    from autoopt.study.events import Listener, SearchResult
    from autoopt.study.request import SearchRequest


class Shown(enum.Enum):
    """What a search shows: all, the answer in one line, or events as JSON lines."""

    ALL = enum.auto()
    ANSWER = enum.auto()
    EVENTS = enum.auto()


def searched_and_shown(request: SearchRequest, shown: Shown, plan: MeasuringPlan | None) -> bool:
    """Run the search of a request, or both of two targets; whether each has a front."""
    from autoopt import linked, terminal

    def search(asked: SearchRequest) -> SearchResult:
        return _search(asked, shown, plan)

    if len(request.targets) <= 1:
        return bool(search(request).front)
    both = linked.search_both(request, search=search, listening=partial(_listening, shown), plan=plan)
    if shown is Shown.EVENTS:
        typer.echo(json.dumps({"event": "both", **both.to_json()}))
    else:
        terminal.both_fronts(both, brief=shown is Shown.ANSWER)
    return all(study.front for study in both.studies)


@contextmanager
def _listening(shown: Shown) -> Iterator[Listener]:
    """What is told of the trials that are added to both studies in the end."""
    from autoopt import progress, terminal
    from autoopt.study.events import silent

    if shown is Shown.EVENTS:
        with terminal.SearchEvents() as events:
            yield events
    elif shown is Shown.ANSWER:
        with terminal.stdout_alone():
            yield silent
    else:
        with progress.SearchBar() as bar:
            yield bar


def _search(request: SearchRequest, shown: Shown, plan: MeasuringPlan | None) -> SearchResult:
    from autoopt import api, progress, terminal

    if shown is Shown.EVENTS:
        with terminal.SearchEvents() as events:
            result = api.search(request, listener=events, plan=plan)
        events.end(result)
    elif shown is Shown.ANSWER:
        with terminal.stdout_alone():
            result = api.search(request, plan=plan)
        terminal.answer(result, request)
    else:
        with progress.SearchBar() as bar:
            result = api.search(request, listener=bar, plan=plan)
        terminal.search_result(result, request)
    return result

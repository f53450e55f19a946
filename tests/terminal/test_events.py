"""The events of a search for scripts."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from autoopt.report.front_json import front_json
from autoopt.study.attempts import Attempt
from autoopt.study.events import Progress, SearchResult
from autoopt.terminal.events import SearchEvents
from tests.report.page.planted import planted_study
from tests.worlds import World, space_of, study_of

KEYS = {
    "start": {"schema", "study", "workload", "demo", "host", "objectives", "limits", "budget", "done"},
    "stage": {"stage", "place", "again", "tries", "words", "seconds_left"},
    "trial": {
        *("trial", "label", "origin", "status", "violated", "failure", "words", "configuration", "numbers", "seconds"),
        *("done", "seconds_left"),
    },
    "front": {"trials"},
    "end": {"stopped", "exhaustive", "trials", "made", "reused", "seconds", "result"},
}
"""What docs/terminal.md promises of each event."""


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """What was written to standard output: each line is JSON."""
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_search_is_told_event_by_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """First the study, then stages and trials, the front when it is another one, in the end all of it, and no more."""
    study, world, events = study_of(space_of(tmp_path)), World(), SearchEvents()
    with events:
        for _ in range(4):
            proposal = next(study.proposals(4))
            events(Progress("measure", 4, study.result, None, 9.0, Attempt(proposal)))
            sys.stdout.write("what a library says\n")
            record = study.tell(proposal, world.run(proposal, study.result))
            events(Progress("store", 4, study.result, record, 3.0))
    result = SearchResult(study.result, "the budget is spent", False, {"export": 1}, {}, {"total": 9.5})
    events.end(result)
    told = lines(capsys)
    assert {event["event"]: set(event) - {"event"} for event in told} == KEYS
    assert [event["event"] for event in told[:4]] == ["start", "stage", "trial", "front"]
    assert told[-1]["event"] == "end" and told[-1]["result"] == json.loads(json.dumps(front_json(study.result)))
    assert [event["place"] for event in told if event["event"] == "stage"] == [1, 2, 3, 4]
    trials = [event for event in told if event["event"] == "trial"]
    assert [event["trial"] for event in trials] == [0, 1, 2, 3] and [event["done"] for event in trials] == [1, 2, 3, 4]
    fronts = [event["trials"] for event in told if event["event"] == "front"]
    assert fronts[-1] == [record.number for record in study.result.front]
    assert all(one != other for one, other in pairwise(fronts))


def test_a_failed_trial_says_its_cause(capsys: pytest.CaptureFixture[str]) -> None:
    """The cause, the stage and the message of a failure are keys of their own, and limits that break are named."""
    study, events = planted_study(12), SearchEvents()
    with events:
        for record in study.judged:
            events(Progress("store", 12, study, record))
    told = {event["trial"]: event for event in lines(capsys) if event["event"] == "trial"}
    assert told[7]["failure"] == {
        "stage": "measure",
        "cause": "crash",
        "message": 'the worker died <b>of "signal 11"</b>',
    }
    assert told[7]["status"] == "failed" and told[2]["failure"] is None and told[6]["violated"] == ["drop"]
    assert told[2]["numbers"]["latency_p25_ms"] == pytest.approx(12.0, rel=0.05)


def test_a_search_that_has_nothing_to_do_begins_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the budget was spent before there are the first and the last event."""
    with SearchEvents() as events:
        pass
    events.end(SearchResult(planted_study(12), "the budget was already spent", False))
    assert [event["event"] for event in lines(capsys)] == ["start", "end"]

"""What benchmarks/torture takes for a violation, on made-up results; the program itself runs real searches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from autoopt.core.records import Status, TrialRecord
from autoopt.study.result import StudyResult
from autoopt.tracking.runs import written
from benchmarks.torture.judging import TRACEBACK, Seen, broken, ended_badly
from benchmarks.torture.searching import Ended
from benchmarks.torture.table import Tried, markdown, violated
from tests.deploy.studies import CARD, FAILED, STUDY

GOOD = STUDY.records[:5]


def seen(records: Sequence[TrialRecord] = GOOD, **changes: object) -> Seen:
    """A search that found these records, and MLflow that shows them."""
    study = StudyResult(CARD, tuple(records))
    shown = tuple(written(record, study) for record in study.judged)
    return replace(Seen(study, shown), **changes)


def test_what_held_is_no_violation() -> None:
    """A whole study that MLflow shows, and nothing beside it, is fine; also with a failure that is explained."""
    assert list(broken(seen(), GOOD[:2], budget=5)) == []
    failed = replace(GOOD[1], status=Status.FAILED, started_at="earlier")
    assert list(broken(seen(), (GOOD[0], failed), budget=5)) == [], "it was tried again"
    killed = replace(FAILED, number=5)
    assert list(broken(seen((*GOOD, killed)), GOOD, budget=6, most_failed=1, words=("died",))) == []


@pytest.mark.parametrize(
    ("found", "before", "said"),
    [
        (seen(), (replace(GOOD[0], started_at="earlier"),), "stored trial changed"),
        (seen(GOOD[:4]), (), "trials [0, 1, 2, 3] instead of 0 to 4"),
        (seen((*GOOD[:4], replace(GOOD[3], number=4))), (), "was tried 2 times"),
        (seen((*GOOD[:4], replace(FAILED, number=4))), (), "trial #4 failed: died"),
        (seen(GOOD[:1] + tuple(replace(record, origin="sampler", label="") for record in GOOD[1:])), (), ""),
        (seen(shown=()), (), "MLflow does not show"),
        (seen(left_behind=("/tmp/autoopt-1",)), (), "left behind: /tmp/autoopt-1"),
        (seen(said=f"1/5 #0\n{TRACEBACK}\n"), (), "a traceback was shown"),
    ],
)
def test_every_violation_is_named(found: Seen, before: Sequence[TrialRecord], said: str) -> None:
    """Whatever does not hold of a study is told in one sentence each."""
    problems = list(broken(found, before, budget=5))
    assert any(said in problem for problem in problems) if said else problems == []


@pytest.mark.parametrize(
    ("code", "text", "said"),
    [
        (2, "3/8 #2 openvino f32: 1 ms\nautoopt: no room left on the disk: free some\n", ""),
        (1, "autoopt: no room left on the disk\n", "exit code 1 instead of 2"),
        (2, "autoopt: it failed\n", "nothing says 'no room left'"),
        (2, "no room left\nand\nmuch\nmore\n", "4 lines instead of at most 1"),
        (2, f"{TRACEBACK}\nno room left\n", "a traceback was shown"),
    ],
)
def test_an_ending_is_judged(code: int, text: str, said: str) -> None:
    """A command that stops does so with the right code, in one line beside those of its trials, that says why."""
    problems = list(ended_badly(Ended(code, text), codes=(2,), words=("no room left",), lines=1))
    assert any(said in problem for problem in problems) if said else problems == []


def test_the_table_counts_and_names() -> None:
    """What was skipped is said and not counted; one violation is enough to fail."""
    found = {"disk": [Tried("full"), Tried("slow", ("a|b",)), Tried("odd", skipped="no mount")]}
    assert markdown(found).splitlines()[-1] == "| disk | 2 | 1 | slow: a/b<br>skipped odd: no mount |"
    assert violated(found) and not violated({"disk": found["disk"][::2]})

"""What all trials of a study share: how long an answer may take."""

from __future__ import annotations

import pytest

from autoopt.core.process import USUAL_TIMEOUT_S
from autoopt.core.scores import CaseScore, Quality
from autoopt.study.trial.bench import FIRST_TIMEOUT_S, answer_timeout_s
from tests.study.test_result import record


def of_cases(count: int) -> Quality:
    cases = tuple(CaseScore(f"c{index}", "g", {"dice_macro": 0.9}) for index in range(count))
    return Quality("val", "dice_macro", "mean", {"dice_macro": 0.9}, cases)


@pytest.mark.parametrize(
    ("cases", "measure_s", "limit_s"),
    [(1000, 600.0, USUAL_TIMEOUT_S), (4, 400.0, 2000.0), (1, 3600.0, 72_000.0)],
    ids=["a quick network", "volumes of 100 s", "one volume of an hour"],
)
def test_the_limit_of_an_answer_follows_the_reference(cases: int, measure_s: float, limit_s: float) -> None:
    """A case may take twenty times as long as one of the reference did, however many there are, or five minutes."""
    reference = record(0, 0.04, 0.9, quality=of_cases(cases), seconds={"measure": measure_s})
    assert answer_timeout_s(reference) == limit_s


def test_the_reference_itself_has_an_hour() -> None:
    """While no reference was scored, nothing is known of how long a case takes."""
    assert answer_timeout_s(None) == FIRST_TIMEOUT_S
    assert answer_timeout_s(record(0, 0.04, 0.9, quality=None)) == FIRST_TIMEOUT_S

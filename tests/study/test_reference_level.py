"""The one level of the reference to which all latencies of a study are brought."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.core.configuration import Configuration
from autoopt.core.records import Status, TrialRecord
from autoopt.study.reference_level import STEADY, ReferenceLevel, at_level, level_of
from tests.worlds import REFERENCE_S, measured

ALONE = TrialRecord(Configuration.of({"runtime": {"name": "fake"}}), Status.COMPLETE)


def beside(slower: float) -> TrialRecord:
    return replace(ALONE, measurement=measured(0.01, slower=slower, spread=0.0))


@given(st.lists(st.floats(1.0, 4.0), min_size=1, max_size=40))
def test_the_level_is_that_of_the_quietest_quarter(slowdowns: list[float]) -> None:
    """In any order the level is within 5 % of the lower quartile of what the reference took beside the trials."""
    level = level_of([beside(slower) for slower in slowdowns])
    quartile_s = REFERENCE_S * sorted(slowdowns)[(len(slowdowns) - 1) // 4]
    assert level.latency_s == pytest.approx(quartile_s, rel=STEADY + 1e-9)


def test_small_moves_do_not_change_the_numbers_of_a_study() -> None:
    """A level stays while it would move by less than 5 %, and counts the trials whose host was clearly slower."""
    level = level_of([beside(slower) for slower in (1.0, 0.99, 1.3, 0.985)])
    assert level.latency_s == pytest.approx(REFERENCE_S)
    assert level.slowed == 1
    assert level.plus(beside(0.5)).plus(beside(0.5)).latency_s == pytest.approx(REFERENCE_S / 2)


def test_a_trial_without_a_reference_changes_nothing() -> None:
    """A trial that failed, or was measured alone, says nothing of the level and is not brought to it."""
    alone = replace(ALONE, measurement=replace(measured(0.01), reference_s=(), reference_workers=()))
    level = level_of([beside(1.0)])
    assert level.plus(ALONE) == level.plus(alone) == level
    assert at_level(alone, level) is alone and at_level(ALONE, level) is ALONE
    assert ReferenceLevel().slowed == 0

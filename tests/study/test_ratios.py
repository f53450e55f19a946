"""How many times less a trial has of something than the network as it came."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoopt.core.records import TrialRecord
from autoopt.study.number import Comparison
from autoopt.study.ratios import SAVINGS
from tests.study.test_result import record

WEIGHTS, MACS, SIZE = SAVINGS


def costing(weights: int, macs: int, size_bytes: int) -> TrialRecord:
    made = record(1, 0.01, 0.9)
    cost = {"weights": weights, "macs": macs}
    return replace(made, measurement=replace(made.measured, cost=cost, artifact_bytes=size_bytes))


def test_what_is_saved_is_counted_apart() -> None:
    """A network may have a thousand times fewer weights in a file that is a hundred times smaller."""
    beside = Comparison(costing(1, 1, 1), costing(31_000_000, 10**10, 124_000_000))
    small = costing(31_000, 10**8, 1_240_000)
    assert [number.of(small, beside) for number in SAVINGS] == pytest.approx([1000, 100, 100])


def test_it_is_over_the_reference_where_openvino_is_not_in_the_study() -> None:
    """What is not known of either side has no ratio."""
    beside = Comparison(costing(0, 400, 8))
    found = [number.of(costing(10, 100, 4), beside) for number in SAVINGS]
    assert found == [None, 4, 2]
    assert [number.of(costing(10, 100, 4), Comparison()) for number in SAVINGS] == [None] * 3

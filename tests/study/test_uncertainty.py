"""How sure a study may be: planted differences are found, planted zeros are ties, verdicts stop what is decided."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoopt.core import pareto, stats
from autoopt.core.configuration import Configuration
from autoopt.core.measurement import Measurement
from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import CaseScore, Quality
from autoopt.study import uncertainty

SIGMA = 0.01
BASE = np.random.default_rng(0).uniform(0.85, 0.95, size=12)


def measured(latency_s: float, *, processes: int = 3, reference_worker: str = "r", error: float = 0.0) -> Measurement:
    """Processes of four rounds beside a reference of 20 ms, whose rounds differ by `error`."""
    rng = np.random.default_rng(round(latency_s * 1e6))
    rounds = [[tuple(latency_s * float(np.exp(error * rng.normal())) for _ in range(5)) for _ in range(4)]] * processes
    reference = ((((0.02,) * 5,) * 4),) * processes
    return Measurement(
        tuple(tuple(turns) for turns in rounds),
        ((),) * processes,
        (latency_s,) * processes,
        0.1,
        0.1,
        10**8,
        10**6,
        {},
        "host",
        reference_s=reference,
        reference_workers=(reference_worker,) * processes,
        reference_latency_s=0.02,
    )


def quality(loss: float = 0.0, spread: float = 0.0, seed: int = 1) -> Quality:
    """Twelve patients with a case each that lose `loss` on average, and differ by `spread` in that."""
    values = BASE - loss - spread * np.random.default_rng(seed).normal(size=len(BASE))
    cases = tuple(CaseScore(f"c{i}", f"p{i}", {"dice": float(value)}) for i, value in enumerate(values))
    return Quality("val", "dice", "mean over groups", {"dice": float(values.mean())}, cases)


def trial(number: int, latency_s: float, loss: float = 0.0, spread: float = 0.0, **changes: float) -> TrialRecord:
    return TrialRecord(
        Configuration.of({"runtime": {"name": "fake", "number": number}}),
        Status.COMPLETE,
        number,
        measurement=measured(latency_s, **changes),
        quality=quality(loss, spread, seed=number),  # type: ignore[arg-type]
    )


def _with_luck(record: TrialRecord, rng: np.random.Generator) -> TrialRecord:
    """The trial with processes that differ by `SIGMA`."""
    measured = record.measurement
    assert measured is not None
    lucky = tuple(
        tuple(tuple(call * luck for call in turn) for turn in process)
        for process, luck in zip(measured.turns_s, np.exp(SIGMA * rng.normal(size=measured.processes)), strict=True)
    )
    return replace(record, measurement=replace(measured, turns_s=lucky))


def test_a_drop_is_paired_by_patient() -> None:
    """What patients differ by does not enter the drop, what they lose does; the bound is above the mean."""
    drop = uncertainty.drop(quality(), quality(loss=0.02, spread=0.001))
    assert drop is not None
    assert drop.value == pytest.approx(0.02, abs=0.001)
    assert 0.02 < drop.upper < 0.022 < np.std(BASE)
    assert not drop.tied
    assert drop.p_value < 0.01
    assert uncertainty.same_quality(quality(), quality(spread=0.002))


def test_one_patient_is_paired_by_case() -> None:
    """With a single patient the cases are paired; with a single case there is no bound, unless nothing differs."""
    one = replace(quality(), cases=tuple(replace(case, group="p") for case in quality().cases))
    other = quality(loss=0.02, spread=0.001)
    other = replace(other, cases=tuple(replace(case, group="p") for case in other.cases))
    drop = uncertainty.drop(one, other)
    assert drop is not None and drop.groups == 12 and 0.02 < drop.upper < 0.022
    single = uncertainty.drop(replace(one, cases=one.cases[:1]), replace(other, cases=other.cases[:1]))
    assert single is not None and math.isinf(single.upper)
    same = uncertainty.drop(replace(one, cases=one.cases[:1]), replace(one, cases=one.cases[:1]))
    assert same is not None and same.upper == 0


def test_latencies_are_told_apart_beyond_the_noise_of_processes() -> None:
    """With processes that differ by 1 %, 5 % are found and 0.5 % are not; another reference process makes it harder."""
    assert not uncertainty.same_speed(measured(0.0100), measured(0.0105), SIGMA)
    assert uncertainty.same_speed(measured(0.0100), measured(0.01005), SIGMA)
    alike = uncertainty.slower(measured(0.0100), measured(0.0105), SIGMA)
    other = uncertainty.slower(measured(0.0100), measured(0.0105, reference_worker="s"), SIGMA)
    assert 0.5 * SIGMA < alike.error <= SIGMA * math.sqrt(2 / 3)
    assert other.error > alike.error
    assert other.value == pytest.approx(alike.value)


def test_the_noise_of_processes_is_what_they_differ_by() -> None:
    """Processes of the reference against itself tell how processes differ; too few of them tell nothing."""
    rng = np.random.default_rng(3)
    factors = np.exp(0.03 * rng.normal(size=40))
    one = measured(0.02, processes=40)
    spread = replace(
        one,
        turns_s=tuple(
            tuple(tuple(call * factor for call in turn) for turn in process)
            for process, factor in zip(one.turns_s, factors, strict=True)
        ),
    )
    assert uncertainty.process_sigma(replace(trial(0, 0.02), measurement=spread)) == pytest.approx(0.03, rel=0.3)
    assert uncertainty.process_sigma(trial(0, 0.02, processes=10)) == uncertainty.LEAST_SIGMA
    assert uncertainty.process_sigma(trial(0, 0.02, processes=2)) is None


def test_ties_are_grouped_by_the_fastest() -> None:
    """Members that neither latency nor quality tells apart carry the number of the fastest of them."""
    records = [trial(3, 0.0100), trial(1, 0.01004), trial(2, 0.0102, loss=-0.02), trial(4, 0.02, loss=-0.03)]
    assert uncertainty.tie_groups(records, SIGMA) == {3: 3, 1: 3, 2: 2, 4: 4}


def test_chances_to_be_on_the_front() -> None:
    """Clear members are on the front nearly always, dominated ones nearly never, tied ones now and then."""
    records = [trial(0, 0.010, loss=0.02), trial(1, 0.020), trial(2, 0.0201), trial(3, 0.030, loss=0.05)]
    points = np.array([[r.measurement.latency_p25_s, -r.quality.value] for r in records])  # type: ignore[union-attr]
    probabilities = uncertainty.front_probabilities(records, SIGMA, points, {"latency": 0, "quality": 1})
    assert probabilities[0] > 0.99
    assert probabilities[3] < 0.01
    assert 0.1 < probabilities[2] < 0.9
    assert 0.1 < probabilities[1] < 1.0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0.001, 0.1), st.floats(0, 0.2)), min_size=1, max_size=25))
def test_what_is_always_behind_is_left_out_without_a_change(trials: list[tuple[float, float]]) -> None:
    """The chances are those of the fronts of all records in every draw, of records near the front and far from it."""
    records = [trial(number, latency_s, loss=loss) for number, (latency_s, loss) in enumerate(trials)]
    points = np.array([[r.measured.latency_p25_s, -r.quality.value] for r in records])  # type: ignore[union-attr]
    columns = {"latency": 0, "quality": 1}
    drawn = uncertainty.drawn_points(records, SIGMA, points, columns)
    whole = np.mean([pareto.front(draw) for draw in drawn], axis=0)
    assert np.array_equal(uncertainty.front_probabilities(records, SIGMA, points, columns), whole)


def test_verdicts() -> None:
    """A trial is measured no further when it breaks the drop limit, is surely dominated, or its place is known."""
    members = [trial(0, 0.010), trial(1, 0.005, loss=0.005)]

    def said(record: TrialRecord, *broken: str) -> str:
        return uncertainty.verdict(record, members, SIGMA, broken=broken)

    assert said(trial(5, 0.003, processes=1), "drop") == "it breaks the limit of drop"
    assert said(trial(5, 0.003, processes=1), "drop", "memory") == "it breaks the limit of drop, memory"
    assert said(trial(5, 0.0105, loss=0.001, processes=3)) == "it is dominated by #0"
    assert said(trial(5, 0.02, loss=0.0001, spread=0.001, processes=1)) == "it is far behind #0"
    assert said(trial(5, 0.007, loss=0.002, processes=1)) == ""
    assert said(trial(5, 0.007, loss=0.002)) == "it is told from the front"
    assert uncertainty.verdict(trial(5, 0.02, processes=1), [], SIGMA).startswith("there is nothing")
    assert said(trial(5, 0.0101, loss=-0.01)) == "it is as fast as #0"
    assert said(trial(5, 0.0101, loss=-0.01, processes=1)) == ""
    assert uncertainty.verdict(trial(5, 0.0103, loss=-0.01, processes=2), members, 0.05) == ""
    assert said(trial(5, 0.007, loss=0.002, processes=2)) == "it is told from the front"
    one_only = uncertainty.verdict(trial(5, 0.0105, loss=0.02), members, SIGMA, worse=lambda a, b: b.number == 1)
    assert one_only == "it is dominated by #1"  # a member that it beats elsewhere does not hide the next one
    memory = uncertainty.verdict(trial(5, 0.02, loss=0.001), members, SIGMA, worse=lambda a, b: False)
    assert memory == "it is told from the front"


@pytest.mark.parametrize("loss", [0.05, 0.0])
def test_wrong_verdicts_are_rare(loss: float) -> None:
    """A trial that is as fast as a member is called dominated in no more than one run in a hundred or so."""
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(300):
        member, record = (_with_luck(trial(number, 0.01, loss=number * loss), rng) for number in (0, 1))
        wrong += uncertainty.verdict(record, [member], SIGMA).startswith("it is dominated")
    assert wrong / 300 <= 0.02


def test_a_tie_needs_both_latency_and_quality() -> None:
    """Equal speed alone, or equal quality alone, is no tie; of a single case the value itself decides."""
    assert uncertainty.tied(trial(1, 0.01), trial(2, 0.01001), SIGMA)
    assert not uncertainty.tied(trial(1, 0.01), trial(2, 0.01001, loss=0.02), SIGMA)
    assert not uncertainty.tied(trial(1, 0.01), trial(2, 0.02), SIGMA)
    one, same, other = (Quality("val", "dice", "mean", {"dice": value}, ()) for value in (0.9, 0.9, 0.8))
    assert uncertainty.same_quality(one, same) and not uncertainty.same_quality(one, other)


def test_both_errors_count_when_two_are_told_apart() -> None:
    """Two ratios are far apart only beyond the errors of both."""
    sure, unsure = stats.LogRatio(0.0, 0.001), stats.LogRatio(0.3, 0.5)
    assert not stats.far_apart(sure, unsure, 0.001) and not stats.far_apart(unsure, sure, 0.001)
    assert stats.far_apart(sure, replace(unsure, error=0.001), 0.001)

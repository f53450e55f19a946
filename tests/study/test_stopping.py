"""When enough of a trial was measured, and which trials are measured again."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from autoopt.core import stats
from autoopt.core.card import StudyCard
from autoopt.core.configuration import Configuration
from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import CaseScore, Quality
from autoopt.study.result import StudyResult
from autoopt.study.stopping import (
    CONTESTED,
    MOST_PROCESSES,
    clear,
    contested,
    enough,
    hypervolume_noise,
    objective_noise,
)
from tests.worlds import HOST, measured, scored

CARD = StudyCard(
    "s",
    "tiny",
    True,
    "dice_macro",
    "d",
    "w",
    "{}",
    ("latency", "quality"),
    0,
    HOST,
    limits={"drop": 0.05},
    calibration={"sigma": 0.01},
)


def trial(number: int, latency_s: float, value: float = 0.9, *, processes: int = 3, **changes: object) -> TrialRecord:
    configuration = Configuration.of({"runtime": {"name": "fake", "number": number}})
    made = TrialRecord(
        configuration,
        Status.COMPLETE,
        number,
        measurement=measured(latency_s, processes=processes),
        quality=scored(value),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


REFERENCE = trial(0, 0.1, origin="seed", label="torch f32")


def study(*records: TrialRecord, **changes: object) -> StudyResult:
    return StudyResult(replace(CARD, **changes), (REFERENCE, *records))  # type: ignore[arg-type]


def content(record: TrialRecord, name: str) -> TrialRecord:
    assert record.measurement is not None
    return replace(record, measurement=replace(record.measurement, content=name, effective={"threads": 2}))


def test_what_runs_what_another_ran_is_measured_no_further() -> None:
    """The same files with the same settings are one thing: its trial says which one it is."""
    known = content(trial(1, 0.02), "files")
    again = replace(content(trial(-1, 0.02), "files"), configuration=known.configuration)
    assert enough(again, study(known)) == "it runs what #1 runs"
    assert enough(content(trial(-1, 0.02), "others"), study(known)) != "it runs what #1 runs"


def test_a_trial_that_failed_its_screening_is_measured_no_further() -> None:
    """What surely loses too much on the screening cases says on how many of how many."""
    screened = trial(-1, 0.02, quality=replace(scored(0.5), left_out=37))
    assert enough(screened, study()) == "it surely loses too much on 3 of 40 cases"


def test_a_broken_drop_limit_ends_a_measurement() -> None:
    """No further process changes the quality: a trial beyond the drop limit is done; within it, it is not for that."""
    assert enough(trial(-1, 0.02, 0.8), study()) == "it breaks the limit of drop"
    assert "breaks" not in enough(trial(-1, 0.02, 0.88), study())


def test_a_latency_limit_ends_a_measurement_only_beyond_the_noise() -> None:
    """Surely above the limit is enough; a little above it may still be noise."""
    limited = study(limits={"latency_s": 0.02})
    assert enough(trial(-1, 0.03, processes=1), limited) == "it breaks the limit of latency_s"
    assert "latency_s" not in enough(trial(-1, 0.0201, processes=1), limited)
    assert "latency_s" not in enough(trial(-1, 0.019, processes=1), limited)


def test_a_bound_that_more_processes_may_lower_ends_no_measurement() -> None:
    """A latency below its limit whose upper bound is above it is measured on; surely above it is done."""
    limited = study(trial(1, 0.05), limits={"latency_bound_s": 0.02}, calibration={"sigma": 0.05})
    assert "breaks" not in enough(trial(-1, 0.0195, processes=1), limited)
    assert enough(trial(-1, 0.03, processes=1), limited) == "it breaks the limit of latency_bound_s"


def test_other_objectives_keep_a_slow_trial_in_the_race() -> None:
    """A trial that is slower and worse may be on the front for its memory: it is not called dominated then."""
    fast = trial(1, 0.02)
    slow = trial(-1, 0.05, 0.88)
    assert slow.measurement is not None
    lean = replace(slow, measurement=replace(slow.measurement, peak_rss_bytes=1000))
    two, three = study(fast), study(fast, objectives=("latency", "quality", "memory"))
    assert enough(lean, two) == "it is dominated by #1"
    assert enough(slow, three) == "it is dominated by #1"
    assert enough(lean, three) == "it is told from the front"


def test_the_studys_reference_latency_counts() -> None:
    """A trial that a busy start measured beside a slow reference is compared at the latency of the whole study."""
    slow = trial(-1, 0.02)
    assert slow.measurement is not None
    drifted = replace(slow, measurement=replace(slow.measurement, reference_latency_s=0.4))
    limited = study(trial(1, 0.05), limits={"latency_s": 0.03})
    assert "latency_s" not in enough(drifted, limited)


def test_a_ratio_far_from_every_member_is_clear() -> None:
    """Nothing hangs on a ratio much smaller or larger than each member's; near one of them it does."""
    front = study(trial(1, 0.02))
    near, far = stats.LogRatio(-1.6, 0.001, (-1.6,)), stats.LogRatio(0.5, 0.001, (0.5,))
    assert front.front[0].measurement is not None and front.front[0].measurement.relative is not None
    assert front.front[0].measurement.relative.value == pytest.approx(-1.6, abs=0.02)
    assert not clear(front)(near)
    assert clear(front)(far)
    alone = trial(2, 0.001, 0.95)
    assert alone.measurement is not None
    lonely = replace(alone, measurement=replace(alone.measurement, reference_s=(), reference_workers=()))
    assert not clear(study(trial(1, 0.02), lonely))(far), "a member without a reference is compared with nothing"


def numbers(records: tuple[TrialRecord, ...]) -> list[int]:
    return [record.number for record in records]


def test_thin_members_and_references_are_contested() -> None:
    """What is on the front, and the references, are measured in more than one process, the reference's included."""
    thin = replace(REFERENCE, measurement=measured(0.1))
    found = contested(StudyResult(CARD, (thin, trial(1, 0.02, processes=1), trial(2, 0.05, 0.8, processes=1))))
    assert numbers(found) == [0, 1] or numbers(found) == [1, 0]
    openvino = trial(3, 0.09, 0.89, processes=1, label="openvino f32")
    assert 3 in numbers(contested(study(trial(1, 0.02), openvino)))


def test_rivals_that_the_noise_does_not_tell_apart_are_contested() -> None:
    """Two trials of one latency within the noise are, the less measured first; one that is clearly apart is not."""
    pair = trial(1, 0.02, processes=4), trial(2, 0.02005, processes=3)
    assert numbers(contested(study(*pair, trial(3, 0.01, 0.87)))) == [2, 1]
    apart = trial(1, 0.02), trial(2, 0.03, 0.91)
    assert contested(study(*apart)) == ()


def test_the_least_measured_and_most_doubtful_comes_first() -> None:
    """Contested trials are ordered by their processes, then by how open their place on the front is, then by number."""
    alike = trial(1, 0.02, processes=4), trial(2, 0.02, processes=4), trial(3, 0.02002, processes=2)
    found = contested(study(*alike))
    assert numbers(found)[0] == 3 and sorted(numbers(found)[1:]) == [1, 2]
    pair = trial(1, 0.02, 0.9, processes=3), trial(2, 0.02008, 0.9, processes=3)
    doubtful = study(*pair)
    chance = doubtful.front_probabilities
    assert numbers(contested(doubtful)) == sorted([1, 2], key=lambda number: (abs(chance[number] - 0.5), number))


def test_two_processes_are_enough_where_nothing_is_near() -> None:
    """A member that was measured in two processes is not measured again for that; its own speed is no rival."""
    assert contested(study(trial(1, 0.02, processes=2))) == ()
    assert numbers(contested(study(trial(1, 0.02, processes=1)))) == [1]


def test_what_was_measured_often_is_left_alone() -> None:
    """Beyond the most processes a trial is not measured again, however near its rival is."""
    pair = trial(1, 0.02, processes=MOST_PROCESSES), trial(2, 0.02001, processes=MOST_PROCESSES - 1)
    assert numbers(contested(study(*pair))) == [2]


def test_hopeless_rivals_are_not_contested() -> None:
    """A trial that is dominated beyond the noise has no probability to be on the front, and is left alone."""
    assert numbers(contested(study(trial(1, 0.02), trial(2, 0.0201, 0.85), trial(3, 0.03, 0.86)))) in ([], [1])


def varied(record: TrialRecord, shift: float) -> TrialRecord:
    """The trial with twelve patients, of whom every other one gains and loses something, and all `shift`."""
    values = [0.9 + shift + 0.01 * (-1) ** (index + round(shift * 1e4)) for index in range(12)]
    cases = tuple(CaseScore(f"c{index}", f"g{index}", {"dice_macro": value}) for index, value in enumerate(values))
    quality = Quality("val", "dice_macro", "mean", {"dice_macro": float(np.mean(values))}, cases)
    return replace(record, quality=quality)


def test_what_only_quality_leaves_open_is_not_measured_again() -> None:
    """Where latencies are told apart and qualities are not, further processes would tell nothing."""
    doubtful = StudyResult(CARD, (varied(REFERENCE, 0.0), varied(trial(1, 0.02), 0.0), varied(trial(2, 0.03), 0.0001)))
    low, high = CONTESTED
    assert low < doubtful.front_probabilities[2] < high
    assert contested(doubtful) == ()


def test_all_limits_that_are_surely_broken_are_named() -> None:
    """A trial that loses too much and is too slow is told both; one just at its limit breaks none."""
    both = study(limits={"drop": 0.05, "latency_s": 0.01})
    assert enough(trial(1, 0.02, 0.8), both) == "it breaks the limit of drop, latency_s"
    assert "limit" not in enough(trial(1, 0.01, 0.9), study(limits={"drop": 0.0, "latency_s": 0.01}))


def test_the_noise_of_the_front_is_that_of_its_numbers() -> None:
    """Two neighbours on the front differ in log latency by the noise of both; a noisier host moves the hypervolume
    more; without a front there is nothing to tell."""
    records = (trial(1, 0.02, 0.88), trial(2, 0.05, 0.89))
    quiet, loud = (study(*records, calibration={"sigma": sigma}) for sigma in (0.01, 0.04))
    found = objective_noise(quiet)
    assert found[0] == pytest.approx(math.sqrt(2 / 3) * 0.01, rel=0.3), "of three processes each"
    assert found[1] == 0.0, "all cases are alike"
    assert 0 < hypervolume_noise(quiet) < hypervolume_noise(loud) < 0.05
    nothing = StudyResult(CARD, ())
    assert (objective_noise(nothing), hypervolume_noise(nothing)) == ((), 0.0)


def test_patients_that_are_hard_for_all_are_no_noise_of_the_front() -> None:
    """Cases move the hypervolume by what members lose on them unlike each other, not by how hard they are for all."""

    def spread(value: float, *, alike: bool) -> Quality:
        whole, sign = scored(value), 1 if alike or value > 0.915 else -1
        cases = tuple(
            replace(case, scores={"dice_macro": value + sign * 0.05 * (place - 1)})
            for place, case in enumerate(whole.cases)
        )
        return replace(whole, cases=cases)

    def noise(*, alike: bool) -> float:
        pairs = ((1, 0.02, 0.91), (2, 0.05, 0.92))
        return hypervolume_noise(
            study(*(trial(n, s, value, quality=spread(value, alike=alike)) for n, s, value in pairs), limits={})
        )

    same = hypervolume_noise(study(trial(1, 0.02, 0.91), trial(2, 0.05, 0.92), limits={}))
    assert noise(alike=True) == pytest.approx(same, rel=1e-6)
    assert noise(alike=False) > 3 * same

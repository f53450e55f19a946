"""Picking from a front by policy and limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.core.records import Failure, Status, TrialRecord
from autoopt.core.scores import CaseScore
from autoopt.deploy.pick import PICKS, choose, default_pick
from autoopt.errors import NothingFits, UsageError
from autoopt.study.limit_arguments import LimitArguments
from autoopt.study.result import StudyResult
from tests.deploy.studies import CARD, STUDY, record


@pytest.mark.parametrize(
    ("arguments", "number", "pick"),
    [
        ({"pick": "fastest"}, 3, "fastest"),
        ({"pick": "best-quality"}, 1, "best-quality"),
        ({"pick": "balanced"}, 2, "balanced"),
        ({"pick": "smallest"}, 2, "smallest"),
        ({}, 2, "balanced"),
        ({"max_drop": 0.04}, 3, "fastest"),
        ({"max_drop": 0.01}, 2, "fastest"),
        ({"max_latency_s": 0.020}, 2, "best-quality"),
        ({"max_latency_s": 0.060, "max_drop": 0.04}, 2, "balanced"),
        ({"max_drop": 0.3}, 4, "fastest"),
        ({"max_drop": "4%"}, 3, "fastest"),  # 0.036 of 0.9
        ({"max_drop": "3%"}, 2, "fastest"),
        ({"min_quality": 0.88}, 2, "fastest"),
        ({"max_size_bytes": 2_000_000}, 2, "balanced"),
        ({"max_drop": 0.3, "pick": "smallest"}, 4, "smallest"),
    ],
)
def test_policies(arguments: dict[str, Any], number: int, pick: str) -> None:
    """Each policy picks its member; without one, what was not limited is optimised; limits replace the study's."""
    choice = choose(STUDY, **arguments)

    assert (choice.record.number, choice.pick) == (number, pick)
    assert f"picked trial #{number}" in choice.explanation
    assert f"by policy {pick}" in choice.explanation


def test_the_limits_that_held_are_kept() -> None:
    """A choice says which limits held: those given, and of the study's own those that were not."""
    assert choose(STUDY, max_latency_s=0.020).limits == {"drop": 0.05, "latency_bound_s": 0.020}
    assert choose(STUDY, max_drop=0.04).limits == {"drop": 0.04}


@pytest.mark.parametrize(
    ("max_latency_s", "max_drop", "pick"),
    [(None, None, "balanced"), (1.0, 0.1, "balanced"), (1.0, None, "best-quality"), (None, 0.1, "fastest")],
)
def test_without_a_policy_the_other_number_is_optimised(
    max_latency_s: float | None, max_drop: float | None, pick: str
) -> None:
    """A limit on one number alone asks for the best of the other."""
    assert default_pick(LimitArguments(max_drop, max_latency_s)) == pick


def test_the_explanation_says_why() -> None:
    """The explanation names policy, limits, how many members there were and the numbers, and labels demo data."""
    text = choose(STUDY, max_latency_s=0.020).explanation

    for words in (
        "of the 2 members of the front of s (tiny (demo data))",
        "drop <= 0.05 and p25 latency (upper bound) <= 20 ms",
        "it has the best dice_macro",
        "p25 10 ms",
        "10.00x PyTorch f32",
        "5.00x OpenVINO f32",
        "dice_macro 0.8950",
        "drop +0.0050",
        "2.00 MB",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("pick", "reason"),
    [
        ("fastest", "the smallest p25 latency"),
        ("balanced", "the knee of the front"),
        ("best-quality", "the best dice_macro"),
        ("smallest", "the smallest files"),
    ],
)
def test_each_policy_has_its_reason(pick: str, reason: str) -> None:
    """The explanation gives the reason of the policy; one member is one member; without limits none are named."""
    alone = StudyResult(replace(CARD, limits={}), (record(0, 0.1, 0.9),))

    text = choose(alone, pick=pick).explanation

    assert f"of the 1 member of the front of s (tiny (demo data)), it {'is' if pick == 'balanced' else 'has'} " in text
    assert reason in text


def test_ties_have_one_outcome() -> None:
    """Of equals the smaller files win, then the earlier trial."""
    duplicates = StudyResult(CARD, (record(3, 0.01, 0.9), record(1, 0.01, 0.9), record(2, 0.01, 0.9, 3_000_000)))
    duplicates = replace(duplicates, card=replace(CARD, limits={}))

    assert {pick: choose(duplicates, pick=pick).record.number for pick in PICKS} == dict.fromkeys(PICKS, 2)
    assert choose(replace(duplicates, records=duplicates.records[:2]), pick="fastest").record.number == 1


def test_nothing_is_picked_without_a_reference() -> None:
    """Where no drop is known no model is handed out under a limit on it; why, and what to do, is said."""
    broken = replace(record(0, 0.1, 0.9), label="torch f32", origin="seed", status=Status.FAILED, quality=None)
    broken = replace(broken, failure=Failure("out-of-memory", "measure", "it was killed"), measurement=None)
    study = StudyResult(CARD, (broken, record(1, 0.01, 0.9)))
    with pytest.raises(NothingFits, match=r"no reference: drop unknown(.|\n)*#0 torch f32: out-of-memory in measure"):
        choose(study)
    free = replace(study, card=replace(CARD, limits={}))
    with pytest.raises(NothingFits, match="no reference: drop unknown"):
        choose(free, max_drop=0.01)
    assert choose(free).record.number == 1 and "drop unknown (no reference)" in choose(free).explanation


@pytest.mark.parametrize(
    ("pick", "number"),
    [
        ("fastest", 2),  # as fast as 1, which is smaller, and better
        ("best-quality", 3),  # as good as 5, which is smaller, and faster
        ("smallest", 4),  # as small as 6, which is better, and faster
    ],
)
def test_ties_are_broken_in_a_fixed_order(pick: str, number: int) -> None:
    """Of members that are equal in the number of the policy the faster one wins, then the better one."""
    records = (
        record(1, 0.010, 0.90, 2_000_000),
        record(2, 0.010, 0.92, 3_000_000),
        record(3, 0.020, 0.95, 4_000_000),
        record(4, 0.030, 0.94, 1_000_000),
        record(5, 0.030, 0.95, 3_500_000),
        record(6, 0.040, 0.945, 1_000_000),
    )
    study = StudyResult(replace(CARD, limits={}, objectives=("latency", "quality", "size")), records)

    assert choose(study, pick=pick).record.number == number


def test_the_knee_counts_latency_in_ratios() -> None:
    """The balanced member does not depend on the unit of latency: ratios count, not differences."""
    points = ((0.001, 0.80), (0.010, 0.895), (0.050, 0.90), (0.100, 0.905))
    slow = tuple(record(number, 1000 * latency, quality) for number, (latency, quality) in enumerate(points))
    fast = tuple(record(number, latency, quality) for number, (latency, quality) in enumerate(points))
    card = replace(CARD, limits={})

    assert choose(StudyResult(card, slow)).record.number == choose(StudyResult(card, fast)).record.number == 1
    assert choose(StudyResult(replace(card, objectives=("quality", "latency")), fast)).record.number == 1


def test_balanced_is_the_fastest_where_noise_explains_the_differences_of_quality() -> None:
    """Members that no patient tells apart are compared by their latency: the knee of pure noise is nobody's wish."""

    def patients(number: int, latency_s: float, quality: float, wobble: float) -> TrialRecord:
        own = record(number, latency_s, quality)
        values = [quality + wobble * sign for sign in (1, -1, 1, -1, 1, -1)]
        cases = tuple(CaseScore(f"c{place}", f"g{place}", {"dice_macro": value}) for place, value in enumerate(values))
        return replace(own, quality=replace(own.quality, cases=cases))

    def study(wobble: float) -> StudyResult:
        seed = replace(patients(0, 0.1, 0.9, 0.0), origin="seed", label="torch f32")
        rest = [patients(1, 0.001, 0.8977, wobble), patients(2, 0.008, 0.8998, wobble), patients(3, 0.02, 0.9001, 0.0)]
        return StudyResult(replace(CARD, limits={}), (seed, *rest))

    assert choose(study(wobble=0.02)).record.number == 1
    assert choose(study(wobble=0.0)).record.number == 2


@given(st.permutations(STUDY.records), st.sampled_from(PICKS))
def test_the_order_of_trials_does_not_matter(records: list[TrialRecord], pick: str) -> None:
    """The same trials in another order give the same pick, and it is on the front."""
    choice = choose(StudyResult(CARD, tuple(records)), pick=pick)

    assert choice.record == choose(STUDY, pick=pick).record
    assert choice.record in STUDY.front


def test_bad_arguments_come_all_at_once() -> None:
    """An unknown policy and impossible limits are refused together."""
    with pytest.raises(UsageError) as raised:
        choose(STUDY, max_latency_s=0, max_drop=float("nan"), pick="cheapest")

    assert len(raised.value.problems) == 3
    assert "--max-latency must be longer than nothing, got 0 s" in str(raised.value)
    assert "--max-drop must be a fraction from 0 to 1, or a percentage of the reference's value" in str(raised.value)
    assert "fastest, balanced, best-quality, smallest, got 'cheapest'" in str(raised.value)


@pytest.mark.parametrize("max_drop", [-0.1, 1.1])
def test_a_drop_is_a_fraction(max_drop: float) -> None:
    """A drop below 0 or above 1 is refused; 0 and 1 are limits like others."""
    with pytest.raises(UsageError, match="a fraction from 0 to 1"):
        choose(STUDY, max_drop=max_drop)
    assert choose(STUDY, max_drop=1).record.number == 4
    assert choose(STUDY, max_drop=0).record.number == 1

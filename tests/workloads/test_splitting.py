"""Random splits keep patients together."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from autoopt.workloads.contract import SplitName
from autoopt.workloads.splitting import calibration_cases, may_share_a_group, split_by_group

FRACTIONS: dict[SplitName, float] = {"train": 0.6, "calibration": 0.1, "val": 0.1, "test": 0.2}

CASES = st.lists(st.integers(1, 6), min_size=1, max_size=25).map(
    lambda sizes: [(f"{group}-{index}", f"p{group}") for group, size in enumerate(sizes) for index in range(size)]
)


@given(CASES, st.integers(0, 5), st.randoms(use_true_random=False))
def test_patients_are_never_split(cases: list[tuple[str, str]], seed: int, random: object) -> None:
    """Every case gets a split, a patient only one, in any order; no split is empty where patients are enough."""
    chosen = split_by_group(cases, FRACTIONS, seed)
    assert set(chosen) == {name for name, _ in cases}
    by_group: dict[str, set[str]] = {}
    for name, group in cases:
        by_group.setdefault(group, set()).add(chosen[name])
    assert all(len(splits) == 1 for splits in by_group.values())
    assert len(set(chosen.values())) == min(len(by_group), len(FRACTIONS))
    shuffled = random.sample(cases, len(cases))  # type: ignore[attr-defined]
    assert split_by_group(shuffled, FRACTIONS, seed) == chosen


def test_fractions_are_kept() -> None:
    """With one case each, thirty patients are split exactly as asked for."""
    cases = [(f"c{index}", f"p{index}") for index in range(30)]
    counts = Counter(split_by_group(cases, FRACTIONS).values())
    assert counts == {"train": 18, "calibration": 3, "val": 3, "test": 6}
    assert split_by_group(cases, FRACTIONS, 1) != split_by_group(cases, FRACTIONS, 2)


def test_calibration_is_a_part_of_train() -> None:
    """A quarter of train in whole groups, at most 64 cases; of a single patient some cases, of a single case none."""
    pairs = [(f"c{index}", f"p{index // 2}") for index in range(24)]
    chosen = calibration_cases(pairs)
    assert len(chosen) == 6
    assert {group for case, group in pairs if case in chosen}.isdisjoint(
        group for case, group in pairs if case not in chosen
    )
    assert len(calibration_cases([(f"c{index}", f"p{index}") for index in range(1000)])) == 64
    assert len(calibration_cases([(f"c{index}", "p") for index in range(8)])) == 2
    assert calibration_cases([("c", "p")]) == set()


def test_only_training_data_may_share_a_patient() -> None:
    """Train and calibration are both training data; any other two splits are kept apart."""
    assert may_share_a_group("train", "calibration") and may_share_a_group("val", "val")
    assert not may_share_a_group("train", "val") and not may_share_a_group("test", "calibration")

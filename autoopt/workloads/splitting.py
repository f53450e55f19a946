"""Random splits by patient: whole groups go to train, val and test, and some of train become calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from autoopt.workloads.contract import SplitName

FRACTIONS: Mapping[SplitName, float] = {"train": 0.70, "val": 0.15, "test": 0.15}
"""Of the cases, where nobody gave splits."""
CALIBRATION_CASES = 64
CALIBRATION_SHARE = 0.25
"""The calibration split is taken from train: so many cases, but at most this share of them."""


def split_by_group(
    cases: Sequence[tuple[str, str]], fractions: Mapping[SplitName, float] = FRACTIONS, seed: int = 0
) -> dict[str, SplitName]:
    """A split for the id of every (id, group) pair: groups in random order fill one split after the other.

    A group is never divided. Where there are at least as many groups as splits, no split stays empty.
    """
    sizes: dict[str, int] = {}
    for _, group in cases:
        sizes[group] = sizes.get(group, 0) + 1
    order = sorted(sizes)
    np.random.default_rng(seed).shuffle(order)
    names = list(fractions)
    chosen: dict[str, SplitName] = {}
    position, filled = 0, 0
    for index, group in enumerate(order):
        chosen[group] = names[position]
        filled += sizes[group]
        groups_left, splits_left = len(order) - index - 1, len(names) - position - 1
        reached = filled >= fractions[names[position]] * len(cases) - 1e-9  # 0.1 * 30 is more than 3
        if splits_left and (reached or groups_left <= splits_left):
            position, filled = position + 1, 0
    return {case: chosen[group] for case, group in cases}


def calibration_cases(train: Sequence[tuple[str, str]]) -> set[str]:
    """The ids of the (id, group) pairs of train that become the calibration split; none of fewer than two cases.

    Whole groups in a fixed random order, until there are `CALIBRATION_CASES` or `CALIBRATION_SHARE` of the cases. Where
    train is a single group, cases of it: then both splits have this patient, and both are training data.
    """
    if len(train) < 2:
        return set()
    one_group = len({group for _, group in train}) < 2
    pairs = [(case, case) for case, _ in train] if one_group else list(train)
    share = min(CALIBRATION_CASES / len(train), CALIBRATION_SHARE)
    chosen = split_by_group(pairs, {"calibration": share, "train": 1 - share})
    return {case for case, split in chosen.items() if split == "calibration"}


def may_share_a_group(one: SplitName, other: SplitName) -> bool:
    """Whether one patient may be in both splits: in train and calibration, which are both training data."""
    return one == other or {one, other} == {"train", "calibration"}

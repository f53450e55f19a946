"""Statistics on plain arrays: pure functions, no state, no units of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def quantile(values: ArrayLike, q: float) -> float:
    """The `q`-quantile (0..1) by linear interpolation. Raises ValueError when there are no values."""
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError("a quantile needs at least one value, got none")
    return float(np.quantile(array, q))


def mean_over_groups(values: Sequence[float | None], groups: Sequence[str]) -> float:
    """The mean over groups of the mean over each group's defined values.

    A patient with ten tiles counts as much as one with a single tile. Groups without any defined
    value do not enter; the caller reports how many values were undefined. Raises ValueError when no
    value is defined at all.
    """
    by_group: dict[str, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        if value is not None:
            by_group.setdefault(group, []).append(value)
    if not by_group:
        raise ValueError("an aggregate needs at least one defined value, got none")
    return float(np.mean([np.mean(members) for members in by_group.values()]))


def relative_spread(values: ArrayLike) -> float:
    """Interquartile range over median: a robust, unit-free spread; 0 where the median is not above 0.

    Raises ValueError when there are no values.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError("a spread needs at least one value, got none")
    median = float(np.median(array))
    low, high = np.quantile(array, [0.25, 0.75])
    return float((high - low) / median) if median > 0 else 0.0

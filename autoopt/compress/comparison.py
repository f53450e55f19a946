"""How far the outputs of two graphs, or of a graph and its network, are from each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

SMALLEST_SIZE = 1e-6
"""An output of zeros has no size to compare an error with."""
SMALLEST_POWER = 1e-12
"""As `SMALLEST_SIZE`, of squares."""


def relative_error(got: np.ndarray, expected: np.ndarray) -> float:
    """The root mean square of the error as a fraction of that of what is expected; NaN where one is not a number."""
    return math.sqrt(_noise(got, expected)) / max(math.sqrt(_mean_square(expected)), SMALLEST_SIZE)


def noise_to_signal(got: Sequence[np.ndarray], expected: Sequence[np.ndarray], *, around_mean: bool = False) -> float:
    """The mean square of the error over that of what is expected, over all the outputs; 0 where they are equal.

    `around_mean` takes the variance of what is expected instead: a constant in an output says nothing.
    """
    power = np.var if around_mean else _mean_square
    noise = float(np.mean([_noise(mine, theirs) for mine, theirs in zip(got, expected, strict=True)]))
    signal = float(np.mean([power(item.astype(np.float64)) for item in expected]))
    return noise / max(signal, SMALLEST_POWER)


def signal_to_noise_db(
    got: Sequence[np.ndarray], expected: Sequence[np.ndarray], *, around_mean: bool = False
) -> float | None:
    """`noise_to_signal` the other way round, in decibels; None where the outputs are equal."""
    ratio = noise_to_signal(got, expected, around_mean=around_mean)
    return -10 * math.log10(ratio) if ratio > 0 else None


def _noise(got: np.ndarray, expected: np.ndarray) -> float:
    return _mean_square(got.astype(np.float64) - expected)


def _mean_square(values: np.ndarray) -> float:
    return float(np.mean(np.square(values, dtype=np.float64)))

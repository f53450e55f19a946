"""The mean and the standard deviation of each channel over all cases of a split, for a z-score per feature."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autoopt.errors import BadData, DataError
from autoopt.workloads.contract import Case

DIGITS = 9
"""So many are kept: the last bits of a sum depend on the processor, and the numbers are part of a study's identity."""


def channel_statistics(cases: Sequence[Case], scale: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and the standard deviation of each channel over every value of `cases`, each divided by `scale`.

    Case by case, so that one is in memory at a time (Chan, Golub and LeVeque 1983). Raises DataError naming a case that
    cannot be read, or a channel that is the same everywhere, by which nothing can be divided.
    """
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    for case in cases:
        try:
            image = np.asarray(case.read().image)
        except BadData as error:
            raise DataError(error.message) from error
        values = image.reshape(-1, image.shape[-1]).astype(np.float64) / scale
        shift, own = values.mean(axis=0) - mean, len(values)
        squares = squares + ((values - values.mean(axis=0)) ** 2).sum(axis=0) + shift**2 * count * own / (count + own)
        mean, count = mean + shift * own / (count + own), count + own
    deviations = np.sqrt(squares / max(count, 1))
    flat = [index for index, value in enumerate(deviations) if not value > 0]
    if flat:
        raise DataError(
            f"every channel must vary in train to be divided by its standard deviation, channel(s) "
            f"{', '.join(map(str, flat))} (of 0 to {len(deviations) - 1}) have one value everywhere: leave them out of "
            "the data, or give std as numbers"
        )
    return _kept(mean), _kept(deviations)


def _kept(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(f"{value:.{DIGITS}g}") for value in values)

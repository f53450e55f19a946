"""How much each place of a window counts where windows overlap."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np

LEAST_GAUSSIAN = 1e-3
"""The smallest weight that MONAI gives a place of a window (`compute_importance_map`)."""
NNUNET_SIGMA = 1 / 8
"""The width of nnU-Net's weights, a share of the window."""
NNUNET_PEAK = 10.0
"""The largest of nnU-Net's weights: it uses the range of float16 by that."""


@lru_cache(maxsize=8)
def weights(blend: str, tile: tuple[int, ...], sigma: float) -> np.ndarray | None:
    """The weight of each place of a window of size `tile`, float32; None where all count the same."""
    made = BLENDS[blend](tile, sigma)
    if made is not None:
        made.flags.writeable = False
    return made


def _mean(tile: tuple[int, ...], sigma: float) -> None:
    """All places count the same."""


def _gaussian(tile: tuple[int, ...], sigma: float) -> np.ndarray:
    """The weights of MONAI's `compute_importance_map`, mode gaussian; `sigma` is a share of the window."""
    result = np.ones(tile, np.float32)
    for axis, size in enumerate(tile):
        places = np.arange(-(size - 1) / 2.0, (size - 1) / 2.0 + 1, dtype=np.float32)
        row = np.exp(places**2 / np.float32(-2 * (sigma * size) ** 2)).astype(np.float32)
        result = result * row.reshape([-1 if other == axis else 1 for other in range(len(tile))])
    return np.asarray(np.maximum(result, np.float32(LEAST_GAUSSIAN)))


def _nnunet(tile: tuple[int, ...], sigma: float) -> np.ndarray:
    """The weights of nnU-Net's `compute_gaussian`, rounded to float16 as there; no place has the weight zero."""
    from scipy import ndimage

    point = np.zeros(tile)
    point[tuple(size // 2 for size in tile)] = 1
    spread = ndimage.gaussian_filter(point, [size * NNUNET_SIGMA for size in tile], 0, mode="constant", cval=0)
    rounded = (spread / (spread.max() / NNUNET_PEAK)).astype(np.float16)
    rounded[rounded == 0] = rounded[rounded > 0].min()
    return np.asarray(rounded, np.float32)


BLENDS: Mapping[str, Callable[[tuple[int, ...], float], np.ndarray | None]] = {
    "mean": _mean,
    "gaussian": _gaussian,
    "nnunet": _nnunet,
}
"""Name of a `blend` to the function that gives its weights, from the size of a window and the width of a Gaussian."""


def mirrors(axes: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """All combinations of axes along which a window is mirrored, none first, in nnU-Net's order."""
    return tuple(combination for count in range(len(axes) + 1) for combination in itertools.combinations(axes, count))

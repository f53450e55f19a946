"""Voxel grids: turn axes by an affine, resample, crop. Pure numpy, the same in worker and bundle.

An affine is (4, 4), voxel index to RAS+ millimetres as in NIfTI: +x is right, +y anterior, +z superior.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_CODES = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
"""Letter to the world axis that it names, and the direction along that axis: +1 or -1."""


@dataclass(frozen=True)
class Turn:
    """A reordering of an array's spatial axes: they are permuted to `axes`, then the `flipped` ones are reversed."""

    axes: tuple[int, ...]
    flipped: tuple[bool, ...]

    def apply(self, values: np.ndarray) -> np.ndarray:
        """The array (*spatial, ...) with its spatial axes turned; a view."""
        rest = range(len(self.axes), values.ndim)
        turned = values.transpose(*self.axes, *rest)
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]

    def undo(self, values: np.ndarray) -> np.ndarray:
        """The array that `apply` turned, in its original order; a view."""
        flipped = values[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]
        rest = range(len(self.axes), values.ndim)
        return flipped.transpose(*np.argsort(self.axes), *rest)


def is_orientation(text: str) -> bool:
    """Whether `text` names three different world axes by one letter each, such as RAS or LPS."""
    return len(text) == 3 and set(text) <= set(_CODES) and {_CODES[letter][0] for letter in text} == {0, 1, 2}


def spacing_of(affine: np.ndarray) -> tuple[float, ...]:
    """The distance of neighbouring voxels along each array axis, in mm."""
    return tuple(float(length) for length in np.linalg.norm(np.asarray(affine, np.float64)[:3, :3], axis=0))


def turn_to(orientation: str, affine: np.ndarray) -> Turn:
    """The turn that brings the array's axes nearest to `orientation`, such as RAS.

    An oblique axis counts as the world axis that it is closest to. Raises ValueError for an affine that does not map
    to a volume.
    """
    matrix = np.asarray(affine, np.float64)[:3, :3]
    lengths = np.linalg.norm(matrix, axis=0)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all() or lengths.min() == 0:
        raise ValueError(f"an affine must map voxels to a volume in mm, got {np.asarray(affine).tolist()}")
    directions = matrix / lengths  # (world axis, array axis)
    strength = np.abs(directions)
    world_of = [-1, -1, -1]
    for _ in range(3):  # the clearest axis first, so that no world axis is taken twice
        world, axis = divmod(int(strength.argmax()), 3)
        world_of[axis] = world
        strength[world, :] = -1
        strength[:, axis] = -1
    axes, flipped = [], []
    for letter in orientation:
        world, sign = _CODES[letter]
        axis = world_of.index(world)
        axes.append(axis)
        flipped.append(bool(directions[world, axis] * sign < 0))
    return Turn(tuple(axes), tuple(flipped))


def resampled_sizes(sizes: Sequence[int], spacing: Sequence[float], wanted: Sequence[float]) -> tuple[int, ...]:
    """The sizes of the grid with spacing `wanted` that covers the same field of view; spacings in mm."""
    return tuple(max(1, round(size * have / want)) for size, have, want in zip(sizes, spacing, wanted, strict=True))


def resample(values: np.ndarray, sizes: Sequence[int], first_axis: int = 0) -> np.ndarray:
    """`values` resampled to `sizes` over the same field of view, one axis after the other from `first_axis`; float32.

    Linear interpolation. Where the grid gets coarser the triangular kernel is widened, so that nothing aliases.
    """
    for offset, size in enumerate(sizes):
        axis = first_axis + offset
        if values.shape[axis] != size:
            weights = _weights(values.shape[axis], int(size))
            values = np.moveaxis(np.tensordot(weights, values, axes=(1, axis)), 0, axis)
    return np.asarray(values, np.float32)


def resample_labels(labels: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """A label map (*spatial, ...) resampled to `sizes`: each voxel takes the label that is nearest to its centre."""
    picks = [
        np.minimum(((np.arange(size) + 0.5) * have / size).astype(np.int64), have - 1)
        for size, have in zip(sizes, labels.shape, strict=False)
    ]
    return labels[np.ix_(*picks)]


def crop(values: np.ndarray, start: Sequence[int], sizes: Sequence[int], lead: int, fill: float) -> np.ndarray:
    """The window of `sizes` that begins at `start`, in the axes after the first `lead` ones.

    It may reach beyond the array (`start` may be negative); `fill` stands there.
    """
    whole = np.full((*values.shape[:lead], *sizes, *values.shape[lead + len(sizes) :]), fill, values.dtype)
    inside, window = _overlap(values.shape[lead : lead + len(sizes)], sizes, start)
    whole[(*[slice(None)] * lead, *window)] = values[(*[slice(None)] * lead, *inside)]
    return whole


def uncrop(whole: np.ndarray, window: np.ndarray, start: Sequence[int], lead: int) -> None:
    """Write a window that `crop` cut out to its place in `whole`, in place; what is beyond the edge is dropped."""
    inside, part = _overlap(whole.shape[lead:], window.shape[lead:], start)
    whole[(*[slice(None)] * lead, *inside)] = window[(*[slice(None)] * lead, *part)]


def _overlap(
    sizes: Sequence[int], window: Sequence[int], start: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The slices of the array and of the window that cover each other; empty slices where they do not meet."""
    bounds = [
        (max(0, begin), max(0, begin, min(size, begin + length)), begin)
        for size, length, begin in zip(sizes, window, start, strict=True)
    ]
    return (
        tuple(slice(low, high) for low, high, _ in bounds),
        tuple(slice(low - begin, high - begin) for low, high, begin in bounds),
    )


@lru_cache(maxsize=32)
def _weights(have: int, want: int) -> np.ndarray:
    """The weights (want, have) of a linear resampling over the same field of view; each row sums to 1."""
    scale = have / want
    centres = (np.arange(want)[:, np.newaxis] + 0.5) * scale - 0.5
    # Clamped centres repeat the edge; a triangle at least as wide as the step of the coarser grid averages.
    distance = np.abs(np.clip(centres, 0, have - 1) - np.arange(have)[np.newaxis])
    weights = np.maximum(0.0, 1 - distance / max(1.0, scale))
    result: np.ndarray = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    result.flags.writeable = False
    return result

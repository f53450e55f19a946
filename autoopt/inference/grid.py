"""Voxel grids: turn axes by an affine, resample, crop. Pure numpy, the same in worker and bundle.

An affine is (4, 4), voxel index to RAS+ millimetres as in NIfTI: +x is right, +y anterior, +z superior.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

_CODES = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
"""Letter to the world axis that it names, and the direction along that axis: +1 or -1."""


KERNELS = ("smooth", "linear", "corners", "area")
"""How values are interpolated.

- smooth: linear; where the grid gets coarser the triangle is widened, so that nothing aliases.
- linear: between the two neighbours, whatever the sizes; PyTorch's linear modes, with their corners not aligned.
- corners: the same, with the centres of the first and last voxels of both grids in the same places.
- area: the mean of all voxels that a new one touches; PyTorch's mode area.
"""
SAME_SPACING = 1e-3
"""Spacings that differ by less, in mm, are one spacing for `first_voxel_grid`."""
WORLD = 3
"""Axes of the world, and so of every image that has an affine."""
MOST_VOXELS = 2**31
"""Of a resampled image: 8 GB of float32 per channel."""
FIRST = 1e-8
"""How far, in voxels, a corner may lie before the first voxel that is still the first one for `first_voxel_grid`."""
LARGEST_SHEAR = 1e-4
"""The cosine between two axes up to which they are perpendicular."""


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


def checked_affine(affine: np.ndarray) -> np.ndarray:
    """The affine as float64. Raises ValueError unless it is (4, 4) and gives every axis a length."""
    try:
        result = np.asarray(affine, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"an affine must have 16 numbers: {error}") from error
    with np.errstate(over="ignore"):  # of what is refused right away
        lengths = np.linalg.norm(result[:3, :3], axis=0) if result.shape == (4, 4) else np.zeros(1)
    if not np.isfinite(result).all() or not np.isfinite(lengths).all() or lengths.min() == 0:
        raise ValueError(f"an affine must map voxels to a volume in mm, got {result.tolist()}")
    return result


def spacing_of(affine: np.ndarray) -> tuple[float, ...]:
    """The distance of neighbouring voxels along each array axis, in mm."""
    return tuple(float(length) for length in np.linalg.norm(np.asarray(affine, np.float64)[:3, :3], axis=0))


def turn_to(orientation: str, affine: np.ndarray) -> Turn:
    """The turn that brings the array's axes nearest to `orientation`, such as RAS.

    An oblique axis counts as the world axis that it is closest to. Raises ValueError for an affine that does not map
    to a volume.
    """
    matrix = checked_affine(affine)[:3, :3]
    directions = matrix / np.linalg.norm(matrix, axis=0)  # (world axis, array axis)
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


def turned_affine(turn: Turn, affine: np.ndarray, sizes: Sequence[int]) -> np.ndarray:
    """The affine of a volume of `sizes` after its axes were turned; every voxel stays where it is in the world."""
    back = np.eye(4)  # from a voxel of the turned array to one of the array; as one matrix, to round as MONAI does
    back[:3, :3] = 0
    for place, (axis, flipped) in enumerate(zip(turn.axes, turn.flipped, strict=True)):
        back[axis, place] = -1 if flipped else 1
        back[axis, 3] = sizes[axis] - 1 if flipped else 0
    result: np.ndarray = np.asarray(affine, np.float64) @ back
    return result


def spaced_affine(affine: np.ndarray, spacing: Sequence[float], first: int) -> np.ndarray:
    """The affine with voxels of `spacing` along the axes from `first` on; its origin is kept, its directions are."""
    result = np.array(affine, np.float64)
    lengths = spacing_of(affine)
    for axis, size in enumerate(spacing, start=first):
        result[:, axis] *= size / lengths[axis]
    return result


Place = tuple[float, float]
"""Where the voxels of a new grid lie along an axis of the old one, in old voxels: the first one, and their distance."""


def places_back(places: Sequence[Place]) -> tuple[Place, ...]:
    """Where the voxels of the old grid lie in the new one."""
    return tuple((-start / step, 1 / step) for start, step in places)


def first_voxel_grid(
    sizes: Sequence[int], affine: np.ndarray, wanted: Sequence[float]
) -> tuple[tuple[int, ...], tuple[Place, ...]]:
    """Sizes and places of the grid with spacing `wanted` whose first voxel has the centre of the image's first voxel.

    The rule of MONAI's `Spacing`, with its rounding and its tolerances: an axis within a thousandth of a millimetre
    keeps its spacing; where the first voxel is not first to the eighth digit, as with most axes that are oblique in a
    file, the middles of both grids coincide. Raises ValueError unless the axes are perpendicular: there the grid would
    not follow them.
    """
    matrix = np.asarray(affine, np.float64)[:3, :3]
    have = np.linalg.norm(matrix, axis=0)
    directions = matrix / have
    if np.abs(directions.T @ directions - np.eye(3)).max() > LARGEST_SHEAR:
        raise ValueError(
            "the axes of an image must be perpendicular, because this pipeline resamples from its first voxel, "
            f"got the affine {np.asarray(affine).tolist()}"
        )
    want = np.where(np.abs(have - np.asarray(wanted)) <= SAME_SPACING, have, wanted)
    # In MONAI's steps: where a size lies half way between two, the last bit of the affine decides.
    upper = np.linalg.cholesky(matrix.T @ matrix).T
    whole = np.eye(4)
    whole[:3, :3] = matrix @ np.linalg.inv(upper) @ np.diag(want)
    corners = np.stack([*np.meshgrid(*[(0.0, size - 1.0) for size in sizes], indexing="ij")]).reshape(3, -1)
    placed = np.linalg.solve(whole, np.asarray(affine, np.float64)) @ np.concatenate([corners, np.ones((1, 8))])
    new = _sizes_in_memory(np.round(np.ptp(placed[:3], axis=1) + 1.0))
    steps = want / have
    if new == tuple(sizes) and np.allclose(steps, 1.0, atol=SAME_SPACING):
        return new, ((0.0, 1.0),) * 3
    first = np.allclose(np.min(placed[:3] - placed[:3, :1], axis=1), 0.0, atol=FIRST)
    starts = np.zeros(3) if first else (np.asarray(sizes) - np.asarray(new) * steps) / 2
    return new, tuple((float(start), float(step)) for start, step in zip(starts, steps, strict=True))


def resampled_sizes(sizes: Sequence[int], spacing: Sequence[float], wanted: Sequence[float]) -> tuple[int, ...]:
    """The sizes of the grid with spacing `wanted` that covers the same field of view; spacings in mm.

    Raises ValueError for more voxels than fit into memory.
    """
    exact = [size * have / want for size, have, want in zip(sizes, spacing, wanted, strict=True)]
    return _sizes_in_memory([max(1, size if math.isinf(size) else round(size)) for size in exact])


def _sizes_in_memory(sizes: Sequence[float] | np.ndarray) -> tuple[int, ...]:
    if not math.prod(map(float, sizes)) <= MOST_VOXELS:
        raise ValueError(
            f"an image must have at most {MOST_VOXELS:g} voxels after it is resampled, its affine and the spacing of "
            f"this pipeline give it {' x '.join(f'{float(size):g}' for size in sizes)}: see whether both are in mm"
        )
    return tuple(map(int, sizes))


def resample(
    values: np.ndarray,
    sizes: Sequence[int],
    first_axis: int = 0,
    kernel: str = "smooth",
    places: Sequence[Place] | None = None,
) -> np.ndarray:
    """`values` resampled to `sizes`, one axis after the other from `first_axis`; float32. `kernel` is one of `KERNELS`.

    The field of view stays the same, unless `places` are given.
    """
    for offset, size in enumerate(sizes):
        axis = first_axis + offset
        place = None if places is None else places[offset]
        if values.shape[axis] != size or place not in (None, (0.0, 1.0)):
            weights = _weights(values.shape[axis], int(size), kernel, place)
            values = np.moveaxis(np.tensordot(weights, values, axes=(1, axis)), 0, axis)
    return np.asarray(values, np.float32)


def resample_labels(
    labels: np.ndarray, sizes: Sequence[int], places: Sequence[Place] | None = None, *, floor: bool = False
) -> np.ndarray:
    """A label map (*spatial, ...) resampled to `sizes`: each voxel takes the label that is nearest to its centre.

    The field of view stays the same, unless `places` are given. `floor` takes the label at the voxel's lower edge
    instead of its centre, as the mode nearest of PyTorch's `interpolate` does.
    """
    picks = []
    for axis, (size, have) in enumerate(zip(sizes, labels.shape, strict=False)):
        index = np.arange(size)
        if places is not None:
            place = np.maximum(np.rint(places[axis][0] + index * places[axis][1]), 0)
        elif floor:
            place = index.astype(np.float32) * (np.float32(have) / np.float32(size))
        else:
            place = (index + 0.5) * have / size
        picks.append(np.minimum(place.astype(np.int64), have - 1))
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
def _weights(have: int, want: int, kernel: str, place: Place | None) -> np.ndarray:
    """The weights (want, have) of a resampling along one axis; each row sums to 1."""
    index, old = np.arange(want)[:, np.newaxis], np.arange(have)[np.newaxis]
    scale = have / want if place is None else place[1]
    if kernel == "area":
        first, last = np.floor(index * have / want), np.ceil((index + 1) * have / want)
        weights = ((old >= first) & (old < last)).astype(np.float64)
    else:
        if place is not None:
            centres = place[0] + index * place[1]
        elif kernel == "corners":
            centres = index * ((have - 1) / max(1, want - 1))
        else:
            centres = (index + 0.5) * scale - 0.5
        # Clamped centres repeat the edge; a triangle at least as wide as the step of the coarser grid averages.
        distance = np.abs(np.clip(centres, 0, have - 1) - old)
        weights = np.maximum(0.0, 1 - distance / (max(1.0, scale) if kernel == "smooth" else 1.0))
    result: np.ndarray = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    result.flags.writeable = False
    return result

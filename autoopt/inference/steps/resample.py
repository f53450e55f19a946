"""Resample an image to a voxel size, or to sizes, by interpolation along its axes one after the other."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoopt.core.plain_text import short
from autoopt.inference.grid import (
    KERNELS,
    WORLD,
    Place,
    first_voxel_grid,
    places_back,
    resample,
    resample_labels,
    resampled_sizes,
    spaced_affine,
    spacing_of,
)
from autoopt.inference.steps.base import Item, finite, listed, whole

MOST_VALUES = 2**31
"""Of a resized image: 8 GB of float32."""
GRIDS = ("extent", "first_voxel")
"""What stays where it is when voxels change their size: the field of view, or the centre of the first voxel."""


@dataclass(frozen=True)
class Resampled:
    """The way back of an image that was resampled from sizes `before` to `after`.

    `places` are those of the new grid's voxels in the old one; None where both have the same field of view.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    kernel: str
    places: tuple[Place, ...] | None = None
    interpolates = True

    def labels_there(self, labels: np.ndarray, outside: int) -> np.ndarray:
        """See `Move`."""
        return resample_labels(labels, self.after, self.places)

    def values_back(self, values: np.ndarray, background: np.ndarray) -> np.ndarray:
        """See `Move`."""
        back = None if self.places is None else places_back(self.places)
        return resample(values, self.before, 1, self.kernel, back)

    def labels_back(self, labels: np.ndarray) -> np.ndarray:
        """See `Move`."""
        if self.before == self.after and self.places is None:
            return labels
        back = None if self.places is None else places_back(self.places)
        # MONAI and PyTorch resize labels by the lower edges of voxels, also where values are resized by their centres.
        return resample_labels(labels, self.before, back, floor=self.kernel != "smooth")


def _resampled(item: Item, move: Resampled, affine: np.ndarray | None) -> tuple[Item, Resampled]:
    values = np.asarray(item.values, np.float32)
    values = resample(values, move.after, kernel=move.kernel, places=move.places)
    mask = None if item.mask is None else move.labels_there(item.mask, 0)
    return replace(item, values=values, affine=affine, mask=mask), move


@dataclass(frozen=True)
class Resample:
    """Voxels of `spacing_mm`, one size per axis of a network call; a stack's own axis keeps its spacing.

    `grid` says what stays in its place (`GRIDS`), `kernel` how values are interpolated (`grid.KERNELS`).
    """

    spacing_mm: tuple[float, ...]
    grid: str = "extent"
    kernel: str = "smooth"

    needs_affine = True
    needs_scipy = False
    keeps_pixels = False

    def problems(self, plane: int, stack: int, channels: int) -> Iterator[str]:
        """See `Step`."""
        yield from spacing_problems(self.spacing_mm, plane, stack)
        if self.grid not in GRIDS or (self.grid != "extent" and stack):
            yield f"grid must be {' or '.join(GRIDS)}, for stacks extent, got {short(self.grid)}"
        yield from _kernel_problems(self.kernel)

    def apply(self, item: Item) -> tuple[Item, Resampled]:
        """See `Step`."""
        assert item.affine is not None
        stack, plane = item.sizes[: item.stack], item.sizes[item.stack :]
        if self.grid == "first_voxel":
            after, places = first_voxel_grid(plane, item.affine, self.spacing_mm)
            if self.kernel == "corners" and min(*plane, *after) == 1 and {step for _, step in places} != {1.0}:
                raise ValueError(
                    "an image must have at least two voxels along each axis, before and after it is resampled, because "
                    f"this pipeline aligns corners, got {plane} and {after}"
                )
            move = Resampled(plane, after, self.kernel, places)
        else:
            spacing = spacing_of(item.affine)[item.stack :]
            after = resampled_sizes(plane, spacing, self.spacing_mm)
            move = Resampled(item.sizes, (*stack, *after), self.kernel)
        affine = spaced_affine(item.affine, self.spacing_mm, item.stack)
        if move.places is not None:
            affine[:-1, -1] += np.asarray(item.affine)[:-1, :-1] @ [start for start, _ in move.places]
        return _resampled(item, move, affine)


@dataclass(frozen=True)
class Resize:
    """The image resized to `sizes`, one per axis of a network call; `kernel` is one of `grid.KERNELS`."""

    sizes: tuple[int, ...]
    kernel: str = "smooth"

    needs_affine = False
    needs_scipy = False
    keeps_pixels = False

    def problems(self, plane: int, stack: int, channels: int) -> Iterator[str]:
        """See `Step`."""
        if not listed(self.sizes, whole, plane) or min(self.sizes) < 1:
            yield f"sizes must be {plane} whole numbers of at least 1, got {short(self.sizes)}"
        elif too_large := _too_large(self.sizes, channels):
            yield f"sizes must make an image that fits into memory, {too_large}"
        yield from _kernel_problems(self.kernel)

    def apply(self, item: Item) -> tuple[Item, Resampled]:
        """See `Step`. Raises ValueError for a stack so deep that it does not fit into memory once it is resized."""
        after = (*item.sizes[: item.stack], *self.sizes)
        if too_large := _too_large(after, item.values.shape[-1]):
            raise ValueError(f"an image of sizes {item.sizes} must fit into memory once it is resized, {too_large}")
        affine = item.affine
        if affine is not None and len(affine) == len(after) + 1:
            have = spacing_of(affine)
            wide = [size * old / new for size, old, new in zip(have, item.sizes, after, strict=True)]
            affine = spaced_affine(affine, wide, 0)
        return _resampled(item, Resampled(item.sizes, after, self.kernel), affine)


def _too_large(sizes: Sequence[int], channels: int) -> str:
    """Why an image cannot be held, as the end of a sentence; empty where it can."""
    values = math.prod(map(int, sizes)) * channels
    if values <= MOST_VALUES:
        return ""
    return f"got {short(tuple(sizes))} with {channels} channel(s), {values:.3g} values of at most {MOST_VALUES:.3g}"


def spacing_problems(spacing: object, plane: int, stack: int) -> Iterator[str]:
    """What is wrong with voxel sizes that a step asks for."""
    fits = listed(spacing, finite, plane) and plane + stack == WORLD
    if not fits or min(spacing, default=0) <= 0:  # type: ignore[call-overload]
        yield f"spacing_mm must have one size above 0 per axis of the tile, for 3D images, got {short(spacing)}"


def _kernel_problems(kernel: object) -> Iterator[str]:
    if kernel not in KERNELS:
        yield f"kernel must be one of {', '.join(KERNELS)}, got {short(kernel)}"

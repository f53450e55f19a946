"""Resample an image as nnU-Net does by default: by splines, and slice by slice where one axis is coarse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoopt.core.plain_text import short
from autoopt.inference.grid import resample_labels, resampled_sizes, spaced_affine, spacing_of
from autoopt.inference.steps.base import Item, whole
from autoopt.inference.steps.resample import spacing_problems

COARSE = 3.0
"""How many times the finest spacing the coarsest must be for its axis to be resampled by itself."""
HIGHEST_ORDER = 5
"""Of the splines of scipy."""
LINEAR = 1


@dataclass(frozen=True)
class Splined:
    """The way back of an image that was resampled from sizes `before` and spacing `spacing` to those after."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    spacing: tuple[float, ...]
    spacing_after: tuple[float, ...]
    order_back: int
    separate: bool | None
    interpolates = True

    def labels_there(self, labels: np.ndarray, outside: int) -> np.ndarray:
        """See `Move`."""
        return resample_labels(labels, self.after)

    def values_back(self, values: np.ndarray, background: np.ndarray) -> np.ndarray:
        """See `Move`; the dtype of the values is kept, as nnU-Net keeps it."""
        coarse = coarse_axis(self.spacing_after, self.spacing, self.separate)
        return np.stack([splined(each, self.before, self.order_back, coarse) for each in values])

    def labels_back(self, labels: np.ndarray) -> np.ndarray:
        """See `Move`."""
        return resample_labels(labels, self.before)


@dataclass(frozen=True)
class ResampleSpline:
    """Voxels of `spacing_mm`, one size per axis of a network call, by splines of `order`, answers by `order_back`.

    The rule of nnU-Net v2 (`resample_data_or_seg_to_shape`): sizes are rounded, centres keep their field of view, and
    of a spline above linear what lies outside the image's range is cut off. Where one axis is more than three times as
    coarse as the finest, in the image or else in the wanted spacing, each slice along it is resampled by itself, and
    along it the nearest slice is taken. `separate` says whether that is done, None leaves it to the spacings.
    """

    spacing_mm: tuple[float, ...]
    order: int = 3
    order_back: int = 1
    separate: bool | None = None

    needs_affine = True
    needs_scipy = True
    keeps_pixels = False

    def problems(self, plane: int, stack: int, channels: int) -> Iterator[str]:
        """See `Step`."""
        yield from spacing_problems(self.spacing_mm, plane, stack)
        for name, order in (("order", self.order), ("order_back", self.order_back)):
            if not whole(order) or not 0 <= order <= HIGHEST_ORDER:
                yield f"{name} must be a whole number from 0 to {HIGHEST_ORDER}, got {short(order)}"
        if self.separate not in (None, True, False):
            yield f"separate must be null, true or false, got {short(self.separate)}"

    def apply(self, item: Item) -> tuple[Item, Splined]:
        """See `Step`."""
        assert item.affine is not None
        spacing = spacing_of(item.affine)
        wanted = (*spacing[: item.stack], *self.spacing_mm)
        after = resampled_sizes(item.sizes, spacing, wanted)
        move = Splined(item.sizes, after, spacing, wanted, self.order_back, self.separate)
        coarse = coarse_axis(spacing, wanted, self.separate)
        values = np.asarray(item.values, np.float32)
        channels = [
            splined(np.ascontiguousarray(values[..., channel]), after, self.order, coarse)
            for channel in range(values.shape[-1])
        ]
        mask = None if item.mask is None else move.labels_there(item.mask, 0)
        affine = spaced_affine(item.affine, wanted, 0)
        return replace(item, values=np.stack(channels, axis=-1), affine=affine, mask=mask), move


def coarse_axis(spacing: Sequence[float], wanted: Sequence[float], separate: bool | None) -> int | None:
    """The axis along which slices are resampled by themselves; None: there is none."""
    if separate is not None:
        return _coarsest(spacing) if separate else None
    for each in (spacing, wanted):
        if max(each) / min(each) > COARSE:
            return _coarsest(each)
    return None


def splined(values: np.ndarray, sizes: Sequence[int], order: int, coarse: int | None) -> np.ndarray:
    """`values` (*spatial) resampled to `sizes`, with the slices along `coarse` each by itself; the dtype is kept."""
    if values.shape == tuple(sizes):
        return values
    exact = values.astype(np.float64)
    if coarse is None:
        return np.asarray(_zoomed(exact, sizes, order), values.dtype)
    plane = [size for axis, size in enumerate(sizes) if axis != coarse]
    slices = [_zoomed(np.take(exact, index, coarse), plane, order) for index in range(values.shape[coarse])]
    whole_slices = np.stack(slices, coarse)
    have, want = values.shape[coarse], sizes[coarse]
    if have != want:
        places = (np.arange(want) + 0.5) * (have / want) - 0.5
        nearest = np.clip(np.floor(places + 0.5).astype(int), 0, have - 1)
        whole_slices = np.take(whole_slices, nearest, coarse)
    return np.asarray(whole_slices, values.dtype)


def _zoomed(values: np.ndarray, sizes: Sequence[int], order: int) -> np.ndarray:
    """scikit-image's `resize` with mode edge and without smoothing: zoom on centres, limited to the image's range."""
    if values.shape == tuple(sizes):
        return values
    from scipy import ndimage

    factors = [want / have for want, have in zip(sizes, values.shape, strict=True)]
    result = ndimage.zoom(values, factors, order=order, mode="nearest", grid_mode=True)
    return np.asarray(np.clip(result, values.min(), values.max()) if order > LINEAR else result)


def _coarsest(spacing: Sequence[float]) -> int | None:
    """The axis with the largest spacing; None where two share it."""
    axes = [axis for axis, size in enumerate(spacing) if size == max(spacing)]
    return axes[0] if len(axes) == 1 else None

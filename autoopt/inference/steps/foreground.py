"""Crop an image to the box of what is not background, and put what the network answers back into the whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from autoopt.core.plain_text import short
from autoopt.inference import grid
from autoopt.inference.steps.base import Item, finite, listed, truth_problems, whole


@dataclass(frozen=True)
class Cropped:
    """The way back of a crop: it begins at `start` of an image of sizes `before`, and has sizes `after`.

    It may reach beyond the image. With `zero` zeros stand outside of it on the way back, whatever the background is.
    """

    before: tuple[int, ...]
    start: tuple[int, ...]
    after: tuple[int, ...]
    zero: bool = False
    interpolates = False

    @property
    def _whole(self) -> bool:
        """Whether the box is the image: one that reaches beyond it may have its sizes and begin elsewhere."""
        return self.before == self.after and not any(self.start)

    def labels_there(self, labels: np.ndarray, outside: int) -> np.ndarray:
        """See `Move`."""
        return grid.crop(labels, self.start, self.after, 0, fill=outside)

    def values_back(self, values: np.ndarray, background: np.ndarray) -> np.ndarray:
        """See `Move`."""
        if self._whole:
            return values
        whole_values = np.zeros((len(values), *self.before), values.dtype)
        if not self.zero:
            whole_values[:] = background.reshape(-1, *[1] * len(self.before))
        grid.uncrop(whole_values, values, self.start, 1)
        return whole_values

    def labels_back(self, labels: np.ndarray) -> np.ndarray:
        """See `Move`."""
        if self._whole:
            return labels
        whole_labels = np.zeros((*self.before, *labels.shape[len(self.before) :]), labels.dtype)
        window = labels if labels.ndim == len(self.before) else np.moveaxis(labels, -1, 0)
        target = whole_labels if labels.ndim == len(self.before) else np.moveaxis(whole_labels, -1, 0)
        grid.uncrop(target, window, self.start, labels.ndim - len(self.before))
        return whole_labels


OUTSIDES = ("background", "zero")
"""What stands outside of the box on the way back."""


@dataclass(frozen=True)
class CropForeground:
    """The smallest box around the foreground: voxels where a channel is not zero, or with `above` is larger than that.

    `channels` are those looked at (None: all). The box is made larger by `margin` on all sides (one number, or one per
    axis), and until its sizes are multiples of `divisible`, with zeros beyond the edge of the image. An image without
    foreground stays whole. On the way back the logits or probabilities `outside` are those of the background, or all
    zero as MONAI has them. `fill_holes`: the mask that later steps use includes the holes of the foreground. The rule
    of nnU-Net's `crop_to_nonzero` and of MONAI's `CropForeground`.
    """

    above: float | None = None
    channels: tuple[int, ...] | None = None
    margin: tuple[int, ...] = (0,)
    divisible: int = 1
    fill_holes: bool = False
    outside: str = "background"

    needs_affine = False
    keeps_pixels = False
    makes_mask = True

    @property
    def needs_scipy(self) -> bool:
        """See `Step`."""
        return self.fill_holes

    def problems(self, plane: int, stack: int, channels: int) -> Iterator[str]:
        """See `Step`."""
        if self.above is not None and not finite(self.above):
            yield f"above must be null or a finite number, got {short(self.above)}"
        inside = listed(self.channels, whole) and self.channels
        if self.channels is not None and not (inside and all(0 <= item < channels for item in self.channels)):
            yield f"channels must be whole numbers from 0 to {channels - 1}, got {short(self.channels)}"
        if not listed(self.margin, whole) or len(self.margin) not in (1, plane + stack) or min(self.margin) < 0:
            yield f"margin must be one whole number of at least 0, or {plane + stack}, got {short(self.margin)}"
        if not whole(self.divisible) or not 1 <= self.divisible <= LARGEST_MULTIPLE:
            yield f"divisible must be a whole number from 1 to {LARGEST_MULTIPLE}, got {short(self.divisible)}"
        if self.outside not in OUTSIDES:
            yield f"outside must be one of {', '.join(OUTSIDES)}, got {short(self.outside)}"
        yield from truth_problems("fill_holes", self.fill_holes)

    def apply(self, item: Item) -> tuple[Item, Cropped]:
        """See `Step`."""
        seen = item.values if self.channels is None else item.values[..., list(self.channels)]
        mask = np.any(seen != 0 if self.above is None else seen > self.above, axis=-1)
        if self.fill_holes:
            from scipy import ndimage

            mask = ndimage.binary_fill_holes(mask)
        start, sizes = self._box(mask)
        move = Cropped(item.sizes, start, sizes, self.outside == "zero")
        affine = item.affine
        if affine is not None and len(affine) == len(sizes) + 1:
            affine = np.array(affine, np.float64)
            affine[:-1, -1] += affine[:-1, :-1] @ np.asarray(start, np.float64)
        values = grid.crop(item.values, start, sizes, 0, fill=0)
        return replace(item, values=values, affine=affine, mask=grid.crop(mask, start, sizes, 0, fill=0)), move

    def _box(self, mask: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Where the box begins, which may be below zero, and its sizes."""
        if not mask.any():
            return (0,) * mask.ndim, mask.shape
        start, sizes = [], []
        margins = self.margin * mask.ndim if len(self.margin) == 1 else self.margin
        for axis, margin in enumerate(margins):
            found = np.flatnonzero(mask.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
            low, high = max(0, int(found[0]) - margin), min(mask.shape[axis], int(found[-1]) + 1 + margin)
            size = -(-(high - low) // self.divisible) * self.divisible
            start.append(low - (size - (high - low)) // 2)
            sizes.append(size)
        return tuple(start), tuple(sizes)


LARGEST_MULTIPLE = 1024
"""That the sizes of a box may be asked to have: what is larger makes images that do not fit."""

"""Tiles: an image is cut into them for the network, whose outputs are stitched to one array again."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoopt.inference.blending import mirrors, weights
from autoopt.inference.frame import Frame
from autoopt.inference.pipeline_settings import PipelineSettings


@dataclass(frozen=True)
class Tiling:
    """How the tiles of one image lie in it.

    `stack` is the number of 2D images in it (1 without a stack), `spatial` the shape of each on the network's grid,
    `padded` the shape after padding to at least a tile, `offset` where the image begins in that, `corners` where each
    tile begins. Every image of a stack has the same corners, and `frame` is the way back to the image's own grid.
    `mirrored` are the axes along which a tile is mirrored for each of its calls, the first time along none.
    """

    frame: Frame
    stack: int
    spatial: tuple[int, ...]
    padded: tuple[int, ...]
    offset: tuple[int, ...]
    corners: tuple[tuple[int, ...], ...]
    mirrored: tuple[tuple[int, ...], ...] = ((),)

    @property
    def each(self) -> int:
        """The number of calls for one image of the stack."""
        return len(self.corners) * len(self.mirrored)

    @property
    def count(self) -> int:
        """The number of calls, over all images of the stack."""
        return self.each * self.stack

    @property
    def inside(self) -> tuple[slice, ...]:
        """The slices of the padded array that the image takes."""
        return _window(self.offset, self.spatial)


def cut_tiles(stack: np.ndarray, frame: Frame, settings: PipelineSettings) -> tuple[Iterator[np.ndarray], Tiling]:
    """The tiles of a stack of images one after the other, each of `input_shape`, and how they lie in it.

    `stack` is (n, channels, *spatial), or (n, *spatial, channels) where the graph takes pixels. Raises ValueError where
    tiles overlap although the graph decides.
    """
    lead = 1 if settings.takes_pixels else 2  # axes before the spatial ones
    spatial = stack.shape[lead : lead + len(settings.tile)]
    margins = [max(0, tile - size) for tile, size in zip(settings.tile, spatial, strict=True)]
    before = tuple(margin // 2 for margin in margins)
    if any(margins):
        pads = [(low, margin - low) for low, margin in zip(before, margins, strict=True)]
        if settings.takes_pixels and settings.padding == "zero":
            raise ValueError(
                f"an image must be at least {_by(settings.tile)}, because the graph takes pixels (in_graph) and "
                f"what is smaller is put among zeros after it was normalised, one is {_by(spatial)}"
            )
        stack = _padded(stack, [*[(0, 0)] * lead, *pads, *[(0, 0)] * (stack.ndim - lead - len(pads))], settings.padding)
    padded = tuple(size + margin for size, margin in zip(spatial, margins, strict=True))
    starts = [_starts(size, tile, settings) for size, tile in zip(padded, settings.tile, strict=True)]
    if settings.gives_labels and any(_overlap(row, tile) for row, tile in zip(starts, settings.tile, strict=True)):
        raise ValueError(
            f"an image must be covered by tiles of {_by(settings.tile)} that do not overlap, because the graph decides "
            f"(in_graph: both), one of {_by(spatial)} is not"
        )
    corners = tuple(itertools.product(*starts))
    mirrored = mirrors(settings.mirror)
    tiles = (
        np.ascontiguousarray(np.flip(window, tuple(axis + lead for axis in axes)))
        for item in stack
        for window in (
            item[(*[slice(None)] * (lead - 1), *_window(corner, settings.tile))][np.newaxis] for corner in corners
        )
        for axes in mirrored
    )
    return tiles, Tiling(frame, len(stack), spatial, padded, before, corners, mirrored)


def stitched(outputs: Iterable[np.ndarray], tiling: Tiling, settings: PipelineSettings) -> np.ndarray:
    """One array from the outputs for the tiles of one image, without its padding.

    Logits (classes, *spatial), where tiles overlap their mean with the weights of `blend`; or labels (*spatial), whose
    tiles lie side by side. Of a tile that was mirrored the mean of its outputs, mirrored back.
    """
    if len(tiling.mirrored) > 1:
        outputs = _unmirrored(iter(outputs), tiling.mirrored)
    without_padding: tuple[Any, ...] = (Ellipsis, *tiling.inside)
    whole: np.ndarray = _joined(outputs, tiling, settings)[without_padding]
    return whole


def _unmirrored(outputs: Iterator[np.ndarray], mirrored: tuple[tuple[int, ...], ...]) -> Iterator[np.ndarray]:
    """The mean output (classes, *tile) of each tile over its mirrored calls."""
    for first in outputs:
        total = np.asarray(first, np.float32)
        for axes in mirrored[1:]:
            total = total + np.flip(next(outputs), tuple(axis + 1 for axis in axes))
        yield total / len(mirrored)


def _joined(outputs: Iterable[np.ndarray], tiling: Tiling, settings: PipelineSettings) -> np.ndarray:
    if settings.gives_labels:
        labels = np.empty(tiling.padded, np.uint8)
        for corner, output in zip(tiling.corners, outputs, strict=True):
            labels[_window(corner, settings.tile)] = output
        return labels
    # As nnU-Net adds up: a sum is float32 until it is stored, also that of a single window.
    half = settings.sums == "float16"
    if len(tiling.corners) == 1 and not half:
        return next(iter(outputs))
    weight = weights(settings.blend, settings.tile, settings.blend_sigma)
    total = np.zeros((settings.classes, *tiling.padded), settings.sums)
    count = np.zeros(tiling.padded, settings.sums)
    for corner, output in zip(tiling.corners, outputs, strict=True):
        window: tuple[Any, ...] = _window(corner, settings.tile)
        part = output if weight is None else output * weight
        total[(slice(None), *window)] += part
        count[window] += 1 if weight is None else weight.astype(count.dtype)
    if half:
        return np.asarray(total.astype(np.float32) / count.astype(np.float32), np.float16)
    total /= count
    return total


def _starts(size: int, tile: int, settings: PipelineSettings) -> list[int]:
    """The starts of the fewest tiles that cover `size` and overlap by at least the fraction, as `windows` puts them."""
    if settings.windows == "nnunet":
        count = 1 + math.ceil((size - tile) / max(1.0, tile * (1 - settings.overlap)))
        return [0] if count == 1 else [round(index * ((size - tile) / (count - 1))) for index in range(count)]
    stride = max(1, int(tile * (1 - settings.overlap)))
    count = 1 + -(-(size - tile) // stride)
    if settings.windows == "stride":
        return [min(index * stride, size - tile) for index in range(count)]
    return [0] if count == 1 else [round(index * (size - tile) / (count - 1)) for index in range(count)]


def _overlap(starts: list[int], tile: int) -> bool:
    """Whether neighbouring tiles along one axis overlap."""
    return any(second - first < tile for first, second in itertools.pairwise(starts))


def _padded(values: np.ndarray, pads: list[tuple[int, int]], padding: str) -> np.ndarray:
    if padding == "zero":
        return np.pad(values, pads)
    if padding == "edge":
        return np.pad(values, pads, mode="edge")
    # Reflection invents no new values, but mirrors at most size - 1 pixels: what is smaller repeats its edge.
    mirrors = all(max(pad) < size for pad, size in zip(pads, values.shape, strict=True))
    return np.pad(values, pads, mode="reflect" if mirrors else "edge")


def _window(corner: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(start, start + size) for start, size in zip(corner, sizes, strict=True))


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))

"""Training examples from cases: kept in memory, shrunk, augmented, cut to one tile. numpy only."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from autoopt.infer import Pipeline
from autoopt.workload import Case, Sample

CACHED_BYTES = 1_000_000_000
"""Decoded samples are kept in memory up to this size, the others are read again."""

Augment = Callable[[Sample, np.random.Generator], Sample]


class Examples:
    """The training examples of `cases`, as the network of `pipeline` takes them."""

    def __init__(self, cases: Sequence[Case], pipeline: Pipeline, augment: Augment | None) -> None:
        self._cases, self._pipeline, self._augment = cases, pipeline, augment
        self._kept: dict[tuple[int, int], Sample] = {}
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self._cases)

    def draw(self, index: int, factor: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One augmented tile with the resolution divided by `factor`, and its reference.

        float32 (1, channels, *tile), and integers of shape tile (segmentation) or () (classification).
        """
        pipeline = replace(self._pipeline, tile=tuple(size // factor for size in self._pipeline.tile))
        sample = self._sample(index, factor)
        if self._augment is not None:
            sample = self._augment(sample, random)
        if pipeline.task == "segmentation":
            sample = random_window(sample, pipeline.tile, random)
        tiles, _ = pipeline.prepare(sample.image)
        # A classification image of several tiles is trained on one of them at a time.
        pick = int(random.integers(len(tiles)))
        return tiles[pick : pick + 1], sample.reference

    def _sample(self, index: int, factor: int) -> Sample:
        key = (index, factor)
        if key in self._kept:
            return self._kept[key]
        sample = shrunk(self._cases[index].read(), factor)
        size = sample.image.nbytes + sample.reference.nbytes
        if self._kept_bytes + size <= CACHED_BYTES:
            self._kept_bytes += size
            self._kept[key] = sample
        return sample


def shrunk(sample: Sample, factor: int) -> Sample:
    """The sample with the resolution divided by `factor`: the mean of each block of the image, its middle label.

    A sample that is smaller than one block stays as it is.
    """
    image, reference = sample.image, sample.reference
    sizes = tuple(size // factor for size in image.shape[:-1])
    if factor == 1 or min(sizes) == 0:
        return sample
    kept = tuple(slice(0, size * factor) for size in sizes)
    blocks = image[kept].reshape(*itertools.chain.from_iterable((size, factor) for size in sizes), image.shape[-1])
    means = blocks.mean(axis=tuple(range(1, 2 * len(sizes), 2)), dtype=np.float32)
    if reference.ndim:
        reference = reference[kept][(slice(factor // 2, None, factor),) * len(sizes)]
    return Sample(means, reference)


def random_window(sample: Sample, tile: Sequence[int], random: np.random.Generator) -> Sample:
    """A window of the size of a tile somewhere in the sample; a smaller sample is mirrored or its edge repeated."""
    image, reference = sample.image, sample.reference
    margins = [max(0, size - have) for size, have in zip(tile, reference.shape, strict=True)]
    if any(margins):
        pads = [(margin // 2, margin - margin // 2) for margin in margins]
        mirrors = all(max(pad) < have for pad, have in zip(pads, reference.shape, strict=True))
        mode: Any = "reflect" if mirrors else "edge"
        image, reference = np.pad(image, [*pads, (0, 0)], mode=mode), np.pad(reference, pads, mode=mode)
    starts = [int(random.integers(have - size + 1)) for size, have in zip(tile, reference.shape, strict=True)]
    window = tuple(slice(start, start + size) for start, size in zip(starts, tile, strict=True))
    return Sample(image[window], reference[window])

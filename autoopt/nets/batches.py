"""Training examples from cases, in numpy: standardised, cached, reduced in resolution, augmented, cut to one tile."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from autoopt.errors import BadData
from autoopt.inference.pipeline import Pipeline
from autoopt.workloads.contract import IGNORED, Case, Sample

CACHED_BYTES = 1_000_000_000
"""Decoded samples are kept in memory up to this size; what does not fit is read again each time."""

Augment = Callable[[Sample, np.random.Generator], Sample]


class Examples:
    """The training examples of `cases`, standardised by `pipeline` and cut to `tile` (the pipeline's by default).

    `len` is the number of cases; `augment` changes a sample before it is cut, None for no augmentation.
    """

    def __init__(
        self, cases: Sequence[Case], pipeline: Pipeline, augment: Augment | None, tile: tuple[int, ...] | None = None
    ) -> None:
        self._cases, self._pipeline, self._augment = cases, pipeline, augment
        # What is standardised already is only normalised and cut.
        self._cutter = replace(
            pipeline,
            tile=tile or pipeline.tile,
            intensity="fixed",
            clip=None,
            orientation=None,
            spacing_mm=None,
            transposed=False,
            fit="tile",
            sliced=False,
            steps=(),
            mirror=(),
        )
        self._kept: dict[tuple[int, int], Sample] = {}
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self._cases)

    def draw(self, index: int, factor: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """One augmented tile of case `index`, with the resolution divided by `factor`, and its reference.

        The tile is float32 (1, channels, *tile), the reference integers of shape tile (segmentation), ()
        (classification) or float32 (labels,) (regression). Raises BadData for a case that cannot be standardised.
        """
        cutter = replace(self._cutter, tile=tuple(size // factor for size in self._cutter.tile))
        if self._pipeline.sliced:
            stack = self._sample(index, 1)
            pick = int(random.integers(len(stack.image)))
            sample = shrunk(Sample(stack.image[pick], stack.reference[pick]), factor)
        else:
            sample = self._sample(index, factor)
        if self._augment is not None:
            sample = self._augment(sample, random)
        if cutter.task == "segmentation":
            sample = random_window(sample, cutter.tile, random)
        tiles, _ = cutter.prepare(sample.image)
        # A classification image of several tiles is trained on one of them at a time.
        pick = int(random.integers(len(tiles)))
        return tiles[pick : pick + 1], sample.reference

    def _sample(self, index: int, factor: int) -> Sample:
        key = (index, factor)
        if key in self._kept:
            return self._kept[key]
        sample = shrunk(self._standardised(self._cases[index]), factor)
        size = sample.image.nbytes + sample.reference.nbytes
        if self._kept_bytes + size <= CACHED_BYTES:
            self._kept_bytes += size
            self._kept[key] = sample
        return sample

    def _standardised(self, case: Case) -> Sample:
        sample = case.read()
        try:
            image, frame = self._pipeline.standardise(sample.image, sample.affine)
        except ValueError as error:
            raise BadData(f"case {case.id} cannot be used: {error}") from error
        reference = np.asarray(sample.reference)
        if self._pipeline.task == "regression":
            reference = reference.astype(np.float32)
        if self._pipeline.task == "segmentation":
            reference = self._pipeline.standardise_labels(reference, frame, IGNORED)
        return Sample(image, reference)


def shrunk(sample: Sample, factor: int) -> Sample:
    """The sample with its resolution divided by `factor`: the mean of each block of the image, its middle label.

    A sample that is smaller than one block is returned unchanged.
    """
    image, reference = sample.image, sample.reference
    sizes = tuple(size // factor for size in image.shape[:-1])
    if factor == 1 or min(sizes) == 0:
        return sample
    kept = tuple(slice(0, size * factor) for size in sizes)
    blocks = image[kept].reshape(*itertools.chain.from_iterable((size, factor) for size in sizes), image.shape[-1])
    means = blocks.mean(axis=tuple(range(1, 2 * len(sizes), 2)), dtype=np.float32)
    if reference.ndim >= len(sizes):  # a label map
        reference = reference[kept][(slice(factor // 2, None, factor),) * len(sizes)]
    return Sample(means, reference)


def random_window(sample: Sample, tile: Sequence[int], random: np.random.Generator) -> Sample:
    """A random window of size `tile`; a smaller sample is padded first, by mirroring or by repeating its edge."""
    image, reference = sample.image, sample.reference
    spatial = image.shape[:-1]
    margins = [max(0, size - have) for size, have in zip(tile, spatial, strict=True)]
    if any(margins):
        pads = [(margin // 2, margin - margin // 2) for margin in margins]
        mirrors = all(max(pad) < have for pad, have in zip(pads, spatial, strict=True))
        mode: Any = "reflect" if mirrors else "edge"
        of_reference = [*pads, *[(0, 0)] * (reference.ndim - len(pads))]
        image, reference = np.pad(image, [*pads, (0, 0)], mode=mode), np.pad(reference, of_reference, mode=mode)
    starts = [int(random.integers(have - size + 1)) for size, have in zip(tile, image.shape[:-1], strict=True)]
    window = tuple(slice(start, start + size) for start, size in zip(starts, tile, strict=True))
    return Sample(image[window], reference[window])

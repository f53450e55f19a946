"""The augmentations of the built-ins move image and reference together; the seed decides everything."""

from __future__ import annotations

import numpy as np

from autoopt.workloads.augment import brain, cardiac, dfu, histo, timeseries
from autoopt.workloads.contract import IGNORED, Sample


def test_a_tile_and_its_mask_stay_together() -> None:
    """An augmented tile keeps its shape and its mask stays on its gland, and the seed decides everything."""
    rows, columns = np.mgrid[0:64, 0:64]
    mask = ((rows - 24) ** 2 + (columns - 36) ** 2 < 200).astype(np.uint8)
    image = np.where(mask[..., np.newaxis], np.uint8(90), np.uint8(210)).repeat(3, axis=2)
    sample = Sample(image, mask)

    for seed in range(20):
        moved = histo.augment(sample, np.random.default_rng(seed))
        again = histo.augment(sample, np.random.default_rng(seed))

        assert (moved.image.shape, moved.reference.shape) == (image.shape, mask.shape)
        np.testing.assert_array_equal(moved.image, again.image)
        threshold = (moved.image.min() + moved.image.max()) / 2
        assert ((moved.image.mean(axis=-1) < threshold) == moved.reference).mean() > 0.97


def test_a_head_and_its_mask_stay_together() -> None:
    """A head that is only brain stays where its mask is; the seed decides everything; edges become ignored."""
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in (40, 44, 32)), indexing="ij", sparse=True)
    mask = (sum(axis**2 for axis in axes) < 0.36).astype(np.uint8)
    sample = Sample(mask[..., np.newaxis].astype(np.float32), mask, None)
    ignored = 0
    for seed in range(24):
        moved = brain.augment(sample, np.random.default_rng(seed))
        again = brain.augment(sample, np.random.default_rng(seed))

        np.testing.assert_array_equal(moved.image, again.image)
        assert moved.image.shape == (*mask.shape, 1) and moved.image.dtype == np.float32
        assert moved.image.min() >= 0 and moved.image.max() <= 1
        assert set(np.unique(moved.reference)) <= {0, 1, IGNORED}
        inside, outside = (moved.image[..., 0][moved.reference == label].mean() for label in (1, 0))
        assert inside > outside + 0.25
        ignored += bool((moved.reference == IGNORED).any())
    assert ignored > 12


def test_a_slice_and_its_labels_stay_together() -> None:
    """An augmented slice keeps its shape and its labels stay on their structures; the seed decides everything."""
    rows, columns = np.mgrid[0:96, 0:96]
    away = np.hypot(rows - 44, columns - 52)
    reference = np.where(away < 12, 3, np.where(away < 22, 2, 0)).astype(np.uint8)
    image = np.array([0.05, 0.0, 0.5, 0.95], np.float32)[reference][..., np.newaxis]

    for seed in range(20):
        moved = cardiac.augment(Sample(image, reference), np.random.default_rng(seed))
        again = cardiac.augment(Sample(image, reference), np.random.default_rng(seed))

        assert (moved.image.shape, moved.image.dtype) == (image.shape, np.float32)
        assert (moved.reference.shape, moved.reference.dtype) == (reference.shape, np.uint8)
        np.testing.assert_array_equal(moved.image, again.image)
        assert set(np.unique(moved.reference)) <= {0, 2, 3, IGNORED}
        assert 0.4 < (moved.reference == 3).sum() / (reference == 3).sum() < 2
        low, middle, high = (np.median(moved.image[..., 0][moved.reference == label]) for label in (0, 2, 3))
        assert low + 0.1 < middle < high - 0.1
        nearest = np.abs(moved.image - np.array([low, middle, high])).argmin(axis=-1)
        known = moved.reference != IGNORED
        assert (np.array([0, 2, 3])[nearest] == moved.reference)[known].mean() > 0.9


def test_a_photo_keeps_size_range_and_label() -> None:
    """Another photo has the size, the range of values and the label of the first, and is not it."""
    image = np.random.default_rng(1).uniform(0, 255, (128, 128, 3)).astype(np.float32)
    random = np.random.default_rng(2)
    for _ in range(10):
        other = dfu.augment(Sample(image, np.array(1)), random)
        assert other.image.shape == image.shape and int(other.reference) == 1
        assert other.image.min() >= 0 and other.image.max() <= 255
        assert not np.allclose(other.image, image)


def test_a_window_keeps_size_and_class() -> None:
    """Another window has the shape and class of the first, nearly its curves, and is not it; one seed gives one."""
    image = np.sin(np.linspace(0, 12, 100))[:, None].astype(np.float32) * [1.0, 50.0]
    found = [timeseries.augment(Sample(image, np.array(1)), np.random.default_rng(seed)) for seed in (1, 1, 2)]
    for other in found:
        assert other.image.shape == image.shape and other.image.dtype == np.float32 and int(other.reference) == 1
        spread = other.image.std(axis=0) / image.std(axis=0)
        assert (spread > 0.6).all() and (spread < 1.5).all() and not np.allclose(other.image, image)
    np.testing.assert_array_equal(found[0].image, found[1].image)
    assert not np.allclose(found[0].image, found[2].image)

"""Weights of windows and mirrored calls, held against MONAI and nnU-Net."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference

from autoopt.inference.blending import mirrors, weights
from autoopt.inference.pipeline import predict_both
from tests.inference.pipelines import PLAIN, VOLUME, identity

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "nnunet-resampling.npz")


@pytest.mark.parametrize("tile", [(8, 7), (5, 6, 4)])
def test_the_weights_of_nnunet(tile: tuple[int, ...]) -> None:
    """A window's weights are those of nnU-Net to the last bit of float16."""
    found = weights("nnunet", tile, 0.125)
    assert found is not None
    np.testing.assert_array_equal(found.astype(np.float16), GOLDEN["gaussian_" + "x".join(map(str, tile))])


def test_windows_of_nnunet() -> None:
    """Windows begin where nnU-Net's do, also for odd sizes and steps that are no half."""
    for size, tile, step, *starts in GOLDEN["steps"].tolist():
        pipeline = replace(PLAIN, tile=(int(tile), 4), windows="nnunet", overlap=1 - step)
        _, tiling = pipeline.cut(np.zeros((int(size), 4, 3), np.float32))
        assert [corner[0] for corner in tiling.corners] == [start for start in starts if start >= 0]


def sharpened(tiles: np.ndarray) -> np.ndarray:
    """A network whose answer for a place depends on where in the window it is."""
    ramp = np.linspace(0.5, 1.5, tiles.shape[-1], dtype=np.float32)
    return tiles * ramp


def test_gaussian_windows_of_monai() -> None:
    """Overlapping windows are joined as MONAI's sliding window joins them in mode gaussian."""
    pipeline = replace(PLAIN, blend="gaussian", blend_sigma=0.2, windows="stride", overlap=0.5, padding="zero")
    image = np.random.default_rng(0).normal(size=(19, 14, 3)).astype(np.float32)
    tiles, tiling = pipeline.cut(image)
    found = pipeline.joined((sharpened(tile)[0] for tile in tiles), tiling)
    expected = sliding_window_inference(
        torch.from_numpy(np.moveaxis(image, -1, 0)[np.newaxis].copy()),
        roi_size=pipeline.tile,
        sw_batch_size=1,
        predictor=lambda batch: torch.from_numpy(sharpened(batch.numpy())),
        overlap=0.5,
        mode="gaussian",
        sigma_scale=0.2,
    )
    np.testing.assert_allclose(found, np.asarray(expected)[0], rtol=1e-5, atol=1e-5)


def test_a_mirrored_call_is_mirrored_back() -> None:
    """With mirrors a window has a call for each combination of axes, and an answer that follows the image is kept."""
    assert mirrors((0, 2)) == ((), (0,), (2,), (0, 2))
    pipeline = replace(VOLUME, mirror=(0, 1, 2))
    image = np.random.default_rng(1).normal(size=(6, 9, 7, 2)).astype(np.float32)
    tiles, tiling = pipeline.prepare(image)
    assert len(tiles) == tiling.count == 8 * len(tiling.corners)
    plain, mirrored = (predict_both(each, identity, image)[1] for each in (VOLUME, pipeline))
    np.testing.assert_allclose(mirrored, plain, atol=1e-6)


def test_the_mean_over_mirrored_calls() -> None:
    """What differs between calls is averaged: a ramp along a mirrored axis becomes flat."""
    pipeline = replace(PLAIN, mirror=(1,), tile=(4, 6), overlap=0.0)
    tiles, tiling = pipeline.cut(np.ones((4, 6, 3), np.float32))
    found = pipeline.joined((sharpened(tile)[0] for tile in tiles), tiling)
    np.testing.assert_allclose(found, 1.0, rtol=1e-6)


def test_mirrors_need_axes_of_the_tile() -> None:
    """An axis that a window does not have, or named twice, is refused."""
    for mirror in ((2,), (0, 0), (-1,)):
        with pytest.raises(ValueError, match="mirror must be different axes of the tile"):
            replace(PLAIN, mirror=mirror)

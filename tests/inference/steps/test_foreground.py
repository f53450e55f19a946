"""Cropping to the foreground, held against nnU-Net and MONAI, and the way back into the whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.transforms import CropForeground as MonaiCrop

from autoopt.inference.pipeline import Pipeline, predict_both
from autoopt.inference.steps.base import Item
from autoopt.inference.steps.foreground import CropForeground

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "nnunet-resampling.npz")


def test_box_and_mask_of_nnunet() -> None:
    """The box of what is not zero in any channel, and the mask with its holes filled, are those of nnU-Net."""
    image = np.moveaxis(GOLDEN["crop_image"], 0, -1)
    item, move = CropForeground(fill_holes=True).apply(Item(image, None))
    np.testing.assert_array_equal(np.moveaxis(item.values, -1, 0), GOLDEN["crop_data"])
    np.testing.assert_array_equal(item.mask, GOLDEN["crop_mask"])
    assert move.start == tuple(GOLDEN["crop_box"][:, 0])


@given(
    seed=st.integers(0, 100),
    margin=st.integers(0, 3),
    divisible=st.sampled_from([1, 4]),
    sizes=st.tuples(st.integers(4, 12), st.integers(4, 12)),
)
def test_the_box_of_monai(seed: int, margin: int, divisible: int, sizes: tuple[int, int]) -> None:
    """With a threshold, a margin and sizes that must divide, the crop is that of MONAI's CropForeground."""
    random = np.random.default_rng(seed)
    image = np.where(random.random(sizes) > 0.9, random.random(sizes), -1).astype(np.float32)
    image[sizes[0] // 2, sizes[1] // 2] = 1.0
    crop = MonaiCrop(margin=margin, k_divisible=divisible, allow_smaller=True)
    expected = np.asarray(crop(torch.from_numpy(image[np.newaxis])))[0]
    item, _ = CropForeground(above=0.0, margin=(margin,), divisible=divisible).apply(Item(image[..., np.newaxis], None))
    np.testing.assert_array_equal(item.values[..., 0], expected)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_what_was_cropped_away_is_background(activation: str) -> None:
    """The answer and its probabilities have the size of the image; outside the box nothing is found."""
    pipeline = Pipeline(
        "segmentation", 2, 1, (4, 4), 0.0, 1.0, (0.0,), (1.0,), steps=(CropForeground(),), activation=activation
    )  # type: ignore[arg-type]
    image = np.zeros((12, 10), np.float32)
    image[3:8, 2:9] = 1.0

    def everywhere(tile: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros_like(tile), np.ones_like(tile)], axis=1)

    labels, likely = predict_both(pipeline, everywhere, image)
    found = labels if activation == "softmax" else labels[..., 1]
    np.testing.assert_array_equal(found, (image > 0).astype(np.uint8))
    assert likely.shape == (12, 10, 2)
    assert likely[image == 0][:, 1].max() < 1e-6 < 0.5 < likely[image > 0][:, 1].min()


def test_an_image_of_nothing_stays_whole() -> None:
    """Without foreground there is no box: the image is judged as it is."""
    item, move = CropForeground().apply(Item(np.zeros((3, 4, 1), np.float32), None))
    assert item.sizes == (3, 4) and move.labels_back(np.ones((3, 4), np.uint8)).all()


def test_a_box_of_the_images_sizes_goes_back_to_its_place() -> None:
    """A box that was made larger until its sizes divide may have those of the image and begin elsewhere."""
    image = np.zeros((10, 10, 1), np.float32)
    image[2:, 2:] = 1.0
    item, move = CropForeground(divisible=10).apply(Item(image, None))
    assert item.sizes == image.shape[:-1]
    expected = image[..., 0].astype(np.uint8)
    np.testing.assert_array_equal(move.labels_back(item.values[..., 0].astype(np.uint8)), expected)
    np.testing.assert_array_equal(move.values_back(item.values[..., 0][np.newaxis], np.zeros(1))[0], image[..., 0])

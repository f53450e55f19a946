"""Values scaled by the image itself, held against MONAI's transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai import transforms

from autoopt.inference.steps.base import Item, Stationary
from autoopt.inference.steps.foreground import CropForeground
from autoopt.inference.steps.own_range import MinMax, Percentile, ZScore

PAIRS: dict[str, tuple[Any, Any]] = {
    "zscore": (ZScore(), transforms.NormalizeIntensity(channel_wise=True)),
    "zscore of all channels": (ZScore(each_channel=False), transforms.NormalizeIntensity()),
    "zscore of nonzero": (ZScore(where="nonzero"), transforms.NormalizeIntensity(nonzero=True, channel_wise=True)),
    "zscore of nonzero of all channels": (
        ZScore(where="nonzero", each_channel=False),
        transforms.NormalizeIntensity(nonzero=True),
    ),
    "fixed numbers of nonzero": (
        ZScore(where="nonzero", subtract=(1.0, 2.0), divide=(3.0, 4.0)),
        transforms.NormalizeIntensity([1.0, 2.0], [3.0, 4.0], nonzero=True, channel_wise=True),
    ),
    "range": (MinMax(to=(-1.0, 1.0)), transforms.ScaleIntensity(-1.0, 1.0, channel_wise=True)),
    "range of all channels": (MinMax(each_channel=False), transforms.ScaleIntensity()),
    "percentiles": (
        Percentile(low=5, high=90, to=(-1.0, 1.0)),
        transforms.ScaleIntensityRangePercentiles(5, 90, -1.0, 1.0, clip=True, channel_wise=True),
    ),
    "percentiles of all channels, not limited": (
        Percentile(low=1, high=99, each_channel=False, clip=False),
        transforms.ScaleIntensityRangePercentiles(1, 99, 0.0, 1.0),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
@given(seed=st.integers(0, 1000), scale=st.sampled_from([1.0, 300.0]))
def test_as_monai(name: str, seed: int, scale: float) -> None:
    """Each step gives the numbers of the transform of MONAI that it stands for."""
    ours, theirs = PAIRS[name]
    random = np.random.default_rng(seed)
    image = (random.normal(size=(5, 6, 2)) * scale).astype(np.float32)
    image[random.random(image.shape) < 0.3] = 0.0
    expected = np.asarray(theirs(torch.from_numpy(np.moveaxis(image, -1, 0).copy())))
    item, move = ours.apply(Item(image, None))
    assert move is None
    np.testing.assert_allclose(np.moveaxis(item.values, -1, 0), expected, rtol=1e-5, atol=2e-5)


def test_a_zscore_within_the_mask() -> None:
    """Mean and deviation are those within the mask of the crop; outside it the values stay as they are."""
    image = np.zeros((6, 6, 1), np.float32)
    image[1:5, 1:5, 0] = np.arange(16).reshape(4, 4) + 5.0
    image[2, 2] = 0.0  # a hole, which belongs to the mask
    item, _ = CropForeground(fill_holes=True, margin=(1,)).apply(Item(image, None))
    after, _ = ZScore(where="mask", least=1e-8).apply(item)
    inside = after.values[1:5, 1:5]
    assert inside.mean() == pytest.approx(0, abs=1e-6) and inside.std() == pytest.approx(1, abs=1e-6)
    assert not after.values[0].any()
    with pytest.raises(ValueError, match="needs a crop_foreground step before it"):
        ZScore(where="mask").apply(Item(image, None))


@pytest.mark.parametrize("step", [ZScore(), MinMax(), Percentile()])
def test_only_the_channels_that_are_named(step: Stationary) -> None:
    """A step for one channel leaves the others as they are, and a constant channel gives no infinity."""
    image = np.stack([np.full((3, 3), 7.0), np.arange(9.0).reshape(3, 3)], axis=-1).astype(np.float32)
    first: Any = type(step)(channels=(0,))
    item, _ = first.apply(Item(image, None))
    assert np.isfinite(item.values).all()
    np.testing.assert_array_equal(item.values[..., 1], image[..., 1])
    assert not np.array_equal(item.values[..., 0], image[..., 0])

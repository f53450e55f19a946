"""Means and deviations of channels over a whole split, case by case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import BadData, DataError, WorkloadError
from autoopt.workloads.contract import Case, Sample
from autoopt.workloads.data.dataset import read_dataset
from autoopt.workloads.data.statistics import channel_statistics
from autoopt.workloads.models.assemble import Shape, pipeline_of


def case(index: int, image: np.ndarray) -> Case:
    return Case(f"c{index}", f"c{index}", lambda: Sample(image, np.array(0)))


def test_they_are_those_of_all_values_at_once() -> None:
    """Cases of any length, far from zero: as numpy's mean and std over all of them together, to nine digits."""
    random = np.random.default_rng(0)
    images = [1e4 + random.normal(size=(length, 3)) * (1, 10, 100) for length in (5, 200, 31)]
    mean, std = channel_statistics([case(index, image) for index, image in enumerate(images)], 2.0)
    whole = np.concatenate(images) / 2
    assert np.allclose(mean, whole.mean(axis=0), rtol=1e-8) and np.allclose(std, whole.std(axis=0), rtol=1e-8)


def test_what_has_none_is_named() -> None:
    """A channel with one value everywhere has no deviation to divide by; a case that cannot be read is named."""
    flat = np.stack([np.arange(4.0), np.ones(4), np.arange(4.0)], axis=-1)
    with pytest.raises(DataError, match=r"channel\(s\) 1 \(of 0 to 2\) have one value everywhere"):
        channel_statistics([case(0, flat), case(1, flat)], 1.0)

    def broken() -> Sample:
        raise BadData("c.npz must be a whole npz file")

    with pytest.raises(DataError, match=r"c\.npz must be a whole npz file"):
        channel_statistics([Case("c", "c", broken)], 1.0)


def test_a_z_score_per_feature_is_that_of_train(tmp_path: Path) -> None:
    """With mean=train and std=train every channel of train has mean 0 and deviation 1 as the network sees it."""
    series = np.random.default_rng(0).normal(size=(20, 3, 64)) * np.array([[[1.0], [5.0], [50.0]]]) + 7
    np.savez(tmp_path / "all.npz", series=series, labels=np.arange(20) % 2)
    dataset = read_dataset(tmp_path, "classification")
    options = {"task": "classification", "mean": "train", "std": "train", "tile": "64"}
    pipeline = pipeline_of(dataset, Shape(channels=3), options, "net")
    seen = np.concatenate([pipeline.prepare(item.read().image)[0] for item in dataset.splits.train])
    assert seen.shape[1:] == (3, 64)
    assert np.allclose(seen.mean(axis=(0, 2)), 0, atol=1e-5) and np.allclose(seen.std(axis=(0, 2)), 1, atol=1e-5)
    with pytest.raises(WorkloadError, match=r"takes 2D images, the data are 1D"):
        pipeline_of(dataset, Shape(channels=3, tile=(8, 8)), options, "net")

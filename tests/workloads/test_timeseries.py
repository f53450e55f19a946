"""The timeseries workload: the arrays it reads, its network, what it refuses."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoopt.errors import UsageError
from autoopt.workloads import timeseries
from autoopt.workloads.checks import check_workload
from autoopt.workloads.contract import SPLITS

CHANNELS, LENGTH, PERSONS = 3, 40, 12


def write_data(folder: Path, **changes: Any) -> Path:
    """Four windows of each person; those of the class `late` rise. The second channel has another unit."""
    random = np.random.default_rng(0)
    series = random.normal(size=(4 * PERSONS, CHANNELS, LENGTH)).astype(np.float32)
    labels = np.array(["early", "late"] * (2 * PERSONS))
    series[1::2, 0] += np.linspace(-2, 2, LENGTH)
    series[:, 1] = 100 + 10 * series[:, 1]
    groups = np.repeat([f"p{index}" for index in range(PERSONS)], 4)
    folder.mkdir(exist_ok=True)
    np.savez(folder / "all.npz", **{"series": series, "labels": labels, "groups": groups, **changes})
    return folder


def test_reads_one_file_of_windows(tmp_path: Path) -> None:
    """Persons stay in one split, classes have the names of the data, and channels lose the mean and spread of train."""
    workload = timeseries.workload(write_data(tmp_path))
    check_workload(workload)
    assert (workload.name, workload.labels) == ("timeseries", ("early", "late"))
    assert workload.metrics[:2] == ("mcc", "macro_f1")
    assert workload.pipeline.input_shape == (1, CHANNELS, LENGTH)
    persons = [{case.group for case in workload.splits[split]} for split in SPLITS]
    assert sum(map(len, persons)) == PERSONS and all(persons)
    tiles = [workload.pipeline.prepare(case.read().image)[0] for case in workload.splits.train]
    assert np.mean(tiles, axis=(0, 1, 3)) == pytest.approx([0, 0, 0], abs=1e-3)
    assert np.std(tiles, axis=(0, 1, 3)) == pytest.approx([1, 1, 1], abs=1e-3)


def test_network(tmp_path: Path) -> None:
    """The network has the documented size, takes any length, and its name tells another width."""
    torch = pytest.importorskip("torch")
    data = write_data(tmp_path)
    for width, name, millions in ((32, "timeseries", 0.11), (16, "timeseries-width16", 0.03)):
        workload = timeseries.workload(data, width=width)
        assert workload.name == name and workload.build is not None
        model = workload.build().eval()
        with torch.no_grad():
            assert [model(torch.zeros(2, CHANNELS, length)).shape for length in (8, 40, 77)] == [(2, 2)] * 3
        assert sum(item.numel() for item in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.006)


def test_half_of_its_channels_can_go(tmp_path: Path) -> None:
    """Convolutions over time are pruned as others are: about a quarter of the weights stays, the classes all do."""
    torch = pytest.importorskip("torch")
    from autoopt.compress import prune
    from autoopt.measure.host import current_host

    workload = timeseries.workload(write_data(tmp_path))
    settings = prune.canonical({"ratio": 0.5, "rungs": None, "steps": 0}, {"name": "openvino"}, current_host())
    assert workload.build is not None and settings is not None
    whole = workload.build().eval()
    (part,) = prune.parts(settings)
    left = prune.change(part, copy.deepcopy(whole), whole, workload).model.eval()
    sizes = [sum(item.numel() for item in model.parameters()) for model in (left, whole)]
    assert 0.2 < sizes[0] / sizes[1] < 0.35
    with torch.no_grad():
        assert left(torch.zeros(2, CHANNELS, LENGTH)).shape == (2, 2)


def test_a_tile_resamples(tmp_path: Path) -> None:
    """Windows are resampled to the samples that a tile asks for, and labels put the classes in another order."""
    workload = timeseries.workload(write_data(tmp_path), tile="20", labels="late,early")
    assert workload.pipeline.prepare(workload.splits.val[0].read().image)[0].shape == (1, CHANNELS, 20)
    assert workload.labels == ("late", "early")


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({"series": np.zeros((48, 3, 4, 4), np.float32)}, {}, r"must have the axes \(n, channels, time\)"),
        ({"series": np.ones((48, 3, 40), np.float32)}, {}, r"every channel must vary in train"),
        ({"labels": np.array(["one"] * 48)}, {}, r"cases of at least two classes, all are one"),
        ({}, {"tile": "20x20"}, r"--option tile=20x20 does not fit the workload timeseries, which takes any"),
        ({}, {"labels": "late,never"}, r"--option labels must name the classes"),
    ],
)
def test_what_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    """What is wrong with arrays or options is one sentence with what must hold."""
    with pytest.raises(UsageError, match=message):
        timeseries.workload(write_data(tmp_path, **changes), **options)


def test_images_are_refused(tmp_path: Path) -> None:
    """A folder of pictures is no time series, and how to store one is said."""
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (48, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "all.npz", images=images, labels=np.arange(48) % 2)
    with pytest.raises(UsageError, match=r"takes 1D images, the data are 2D: store time series as `series`"):
        timeseries.workload(tmp_path)

"""The embedded demo windows: the same everywhere, in the layout of real data, hard enough to mean something."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from autoopt.nets.weights import load_weights, read_info
from autoopt.workloads import timeseries
from autoopt.workloads.contract import SPLITS, SplitName, Workload
from autoopt.workloads.demo import timeseries_demo
from autoopt.workloads.loading import load_workload

DIGEST = "84ebb615c4efd4bbf49dd318212bdc1f18e9052fc4600a4e81287fdef6ac0ff4"
EXPECTED = (0.75, 0.97)
"""Between these the baseline's correlation must be on val and test."""


@pytest.fixture(scope="module")
def workload(tmp_path_factory: pytest.TempPathFactory) -> Workload:
    return load_workload("timeseries", None, tmp_path_factory.mktemp("home"))


def test_same_values_on_every_machine(tmp_path: Path) -> None:
    """The digest over all values, classes and persons is the pinned one, and a second call changes nothing."""
    timeseries_demo.write(tmp_path / "demo")
    card = {"generator": "timeseries-demo", "version": 1, "demo": True, "digest": DIGEST}
    assert json.loads((tmp_path / "demo" / "demo.json").read_text()) == card
    written = (tmp_path / "demo" / "windows.npz").stat().st_mtime_ns
    timeseries_demo.write(tmp_path / "demo")
    assert (tmp_path / "demo" / "windows.npz").stat().st_mtime_ns == written


def test_persons_never_cross_splits(workload: Workload) -> None:
    """64 persons of 16 windows, half of them fluent, each in one split; it is called demo data."""
    persons = [{case.group for case in workload.splits[split]} for split in SPLITS]
    assert sum(map(len, persons)) == len(set.union(*persons)) == 64 and all(persons)
    assert workload.demo and workload.title.endswith("(demo data)") and workload.labels == timeseries_demo.CLASSES
    for split in ("val", "test"):
        classes = [int(case.read().reference) for case in workload.splits[split]]
        assert np.bincount(classes).tolist() == [112, 56, 56]


def features(workload: Workload, *splits: SplitName) -> tuple[np.ndarray, np.ndarray]:
    """Mean, deviation and range of every channel, and the classes."""
    samples = [case.read() for split in splits for case in workload.splits[split]]
    kinds = (np.mean, np.std, np.min, np.max)
    numbers = [np.concatenate([kind(sample.image, axis=0) for kind in kinds]) for sample in samples]
    return np.array(numbers), np.array([int(sample.reference) for sample in samples])


def test_simple_numbers_do_not_solve_it(workload: Workload) -> None:
    """Logistic regression on mean, deviation and range of the channels is better than chance and far below a net."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    metrics = pytest.importorskip("sklearn.metrics")
    threadpoolctl = pytest.importorskip("threadpoolctl")
    with threadpoolctl.threadpool_limits(1):
        model = linear_model.LogisticRegression(max_iter=3000)
        model.fit(*features(workload, "train", "calibration"))
        for split in ("val", "test"):
            numbers, classes = features(workload, split)
            assert 0.2 < metrics.matthews_corrcoef(classes, model.predict(numbers)) < EXPECTED[0] - 0.15


def test_shipped_baseline_belongs_to_this_data(workload: Workload) -> None:
    """The demo weights are the workload's own, name this data, are small, and as good as their file states."""
    pytest.importorskip("torch")
    from autoopt.nets.baseline import evaluate

    info = read_info(timeseries.DEMO_WEIGHTS)
    assert info is not None and workload.weights == timeseries.DEMO_WEIGHTS and workload.build is not None
    assert info.demo and info.workload == workload.name and info.data_digest == workload.data_digest
    assert info.recipe["half"] is True and timeseries.DEMO_WEIGHTS.stat().st_size <= 200_000
    assert all(EXPECTED[0] <= values["mcc"] <= EXPECTED[1] for values in (info.val, info.test))
    model = workload.build()
    load_weights(model, timeseries.DEMO_WEIGHTS)
    assert evaluate(model, workload, "val").values["mcc"] == pytest.approx(info.val["mcc"], abs=0.03)

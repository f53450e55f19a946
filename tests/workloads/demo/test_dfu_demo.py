"""The embedded demo patches: same everywhere, in the layout of real data, hard enough to mean something."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autoopt.nets.weights import load_weights, read_info
from autoopt.workloads import dfu
from autoopt.workloads.contract import SPLITS, SplitName, Workload
from autoopt.workloads.demo import dfu_demo
from autoopt.workloads.loading import load_workload

DIGEST = "a38f9c6b3b3810c03bfe27cb8cb2c905f284cb3c4571cffaf7561bbb53c76ca7"
MARGIN = 0.08
"""How far a linear rule on thumbnails must stay below a trained net, in accuracy."""
EXPECTED = (0.88, 0.99)
"""Between these a baseline must be on val and test."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    dfu_demo.write(home / "demo" / "dfu")
    return home


@pytest.fixture(scope="module")
def demo(home: Path) -> Path:
    return home / "demo" / "dfu"


@pytest.fixture(scope="module")
def workload(home: Path) -> Workload:
    return load_workload("dfu", None, home)


def rows(demo: Path) -> list[dict[str, str]]:
    with (demo / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_same_pixels_on_every_machine(demo: Path) -> None:
    """The digest over all decoded pixels is the pinned one."""
    assert json.loads((demo / "demo.json").read_text()) == {
        "generator": "dfu-demo",
        "version": 1,
        "demo": True,
        "digest": DIGEST,
    }


def test_layout_is_that_of_real_data(demo: Path) -> None:
    """Every row has its picture in the folder of its label; half of each photo are ulcers; skin tones vary."""
    table = rows(demo)
    assert len(table) == 496 and len({row["file"] for row in table}) == 496
    tones: dict[str, list[float]] = {}
    for row in table:
        assert row["file"].startswith(f"{dfu.LABELS[int(row['label'])]}/")
        with Image.open(demo / row["file"]) as image:
            assert image.size == (dfu_demo.SIZE, dfu_demo.SIZE) and image.mode == "RGB"
            tones.setdefault(row["photo"], []).append(float(np.median(np.asarray(image)[..., 1])))
    labels = {photo: [int(row["label"]) for row in table if row["photo"] == photo] for photo in tones}
    assert all(sum(values) == len(values) // 2 == dfu_demo.PATCHES // 2 for values in labels.values())
    means = [float(np.mean(values)) for values in tones.values()]
    assert max(means) > 1.8 * min(means)


def test_photos_never_cross_splits(demo: Path, workload: Workload) -> None:
    """Photos belong to one split, and the shares are about 60 / 20 / 20."""
    photos = {(row["group"], row["split"]) for row in rows(demo)}
    assert len(photos) == len({group for group, _ in photos}) == 62
    assert [sum(split == name for _, split in photos) for name in ("train", "val", "test")] == [38, 12, 12]
    assert workload.demo and workload.title.endswith("(demo data)") and all(workload.splits[split] for split in SPLITS)


def test_second_call_returns_at_once(demo: Path) -> None:
    """A complete folder is left as it is."""
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    dfu_demo.write(demo)
    assert before == {path: path.stat().st_mtime_ns for path in demo.rglob("*")}


def thumbnails(workload: Workload, *splits: SplitName, size: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Means over `size` x `size` blocks of every picture, and the labels."""
    samples = [case.read() for split in splits for case in workload.splits[split]]
    block = dfu_demo.SIZE // size
    means = [sample.image.reshape(size, block, size, block, 3).mean(axis=(1, 3)).ravel() / 255 for sample in samples]
    return np.array(means), np.array([int(sample.reference) for sample in samples])


def test_colours_do_not_solve_it(workload: Workload) -> None:
    """Logistic regression on 8 x 8 thumbnails is better than chance and clearly below a trained net."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    threadpoolctl = pytest.importorskip("threadpoolctl")
    with threadpoolctl.threadpool_limits(1):
        model = linear_model.LogisticRegression(C=1.0, max_iter=3000)
        model.fit(*thumbnails(workload, "train", "calibration"))
        accuracy = {split: model.score(*thumbnails(workload, split)) for split in ("val", "test")}
    assert 0.55 < accuracy["val"] < EXPECTED[0] - MARGIN
    assert 0.55 < accuracy["test"] < EXPECTED[0] - MARGIN


def test_shipped_baseline_belongs_to_this_data(workload: Workload) -> None:
    """The demo weights are the workload's own, say that they are demo, name this data, are small and good."""
    if not dfu.DEMO_WEIGHTS.exists():
        pytest.skip("the demo weights are not in this checkout")
    info = read_info(dfu.DEMO_WEIGHTS)
    assert info is not None and workload.weights == dfu.DEMO_WEIGHTS
    assert info.demo and info.workload == workload.name and info.data_digest == workload.data_digest
    assert info.recipe["half"] is True
    assert all(EXPECTED[0] <= values["accuracy"] <= EXPECTED[1] for values in (info.val, info.test))
    assert dfu.DEMO_WEIGHTS.stat().st_size <= 1_000_000


def test_shipped_baseline_is_as_good_as_it_says(workload: Workload) -> None:
    """The shipped net, loaded and run through the pipeline, has on val the accuracy that its file states."""
    pytest.importorskip("torch")
    if not dfu.DEMO_WEIGHTS.exists():
        pytest.skip("the demo weights are not in this checkout")
    from autoopt.nets.baseline import evaluate

    assert workload.build is not None
    info, model = read_info(dfu.DEMO_WEIGHTS), workload.build()
    load_weights(model, dfu.DEMO_WEIGHTS)
    assert info is not None
    assert evaluate(model, workload, "val").values["accuracy"] == pytest.approx(info.val["accuracy"], abs=0.011)

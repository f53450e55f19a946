"""The embedded demo stacks: same everywhere, complete or absent, hard enough to mean something."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from autoopt.measure.metrics import Compared, dice
from autoopt.nets.weights import read_info
from autoopt.workloads import cardiac
from autoopt.workloads.contract import SPLITS, Workload
from autoopt.workloads.demo import cardiac_demo
from autoopt.workloads.loading import load_workload

DIGEST = "fb855d46b46b1f4387ea10c3eee45f7b3869e4193aa01fb6fc86aa414be68e31"
MARGIN = 0.15
"""How far a rule on intensities must stay below a trained net, in foreground Dice."""
BASELINE = 0.80
"""What a small trained net reaches at least."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    cardiac_demo.write(home / "demo" / "cardiac")
    return home


@pytest.fixture(scope="module")
def demo(home: Path) -> Path:
    return home / "demo" / "cardiac"


@pytest.fixture(scope="module")
def workload(home: Path) -> Workload:
    return load_workload("cardiac", None, home)


def rows(demo: Path) -> list[dict[str, str]]:
    with (demo / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_same_values_on_every_machine(demo: Path) -> None:
    """The digest over all arrays is the pinned one."""
    assert json.loads((demo / "demo.json").read_text()) == {
        "generator": "cardiac-demo",
        "version": 1,
        "demo": True,
        "digest": DIGEST,
    }


def test_every_stack_is_usable(workload: Workload) -> None:
    """Every stack is read, has steps of 1/255 in 0..1, all four labels, and no label outside the central tile."""
    for split in SPLITS:
        for case in workload.splits[split]:
            sample = case.read()
            steps = sample.image * 255
            assert sample.image.shape[0] == cardiac_demo.SLICES and sample.image.shape[1:3] in cardiac_demo.SIZES
            assert np.abs(steps - np.rint(steps)).max() < 1e-4 and steps.min() >= 0 and steps.max() <= 255.01
            assert set(np.unique(sample.reference)) == {0, 1, 2, 3}
            assert max(sample.image.shape[1:3]) <= min(cardiac.TILE)


def test_the_hearts_are_hearts(workload: Workload) -> None:
    """The cavity is inside the wall and shrinks in ES; some slices above and below hold less, or nothing."""
    volumes: dict[str, dict[str, int]] = {}
    without_right, empty = 0, 0
    for split in SPLITS:
        for case in workload.splits[split]:
            label = case.read().reference
            volumes.setdefault(case.group, {})[case.tags["phase"]] = int((label == cardiac_demo.LV).sum())
            padded = np.pad(label, ((0, 0), (1, 1), (1, 1)))
            for shift, axis in ((1, 1), (-1, 1), (1, 2), (-1, 2)):
                beside = np.roll(padded, shift, axis)[padded == cardiac_demo.LV]
                assert not np.isin(beside, (0, cardiac_demo.RV)).any(), case.id
            without_right += int((label[0] > 1).any() and not (label[0] == cardiac_demo.RV).any())
            empty += sum(not item.any() for item in label)
    assert len(volumes) == 16
    assert all(phases["ES"] < phases["ED"] for phases in volumes.values())
    assert without_right >= 4 and empty >= 6


def test_patients_never_cross_splits(demo: Path, workload: Workload) -> None:
    """Ten patients train, three choose, three test; each with both phases; val and test see three kinds of hearts."""
    splits = {split: [row for row in rows(demo) if row["split"] == split] for split in ("train", "val", "test")}
    assert {split: len({row["patient"] for row in found}) for split, found in splits.items()} == {
        "train": 10,
        "val": 3,
        "test": 3,
    }
    assert all(len({row["kind"] for row in splits[split]}) == 3 for split in ("val", "test"))
    assert {row["kind"] for row in splits["train"]} == set(cardiac_demo.KINDS)
    assert workload.demo and workload.title.endswith("(demo data)") and all(workload.splits[split] for split in SPLITS)


def test_second_call_returns_at_once(demo: Path) -> None:
    """A complete folder is left as it is."""
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    cardiac_demo.write(demo)
    assert before == {path: path.stat().st_mtime_ns for path in demo.rglob("*")}


def test_an_intensity_threshold_does_not_solve_it(workload: Workload) -> None:
    """The best intensity window of each structure, within the part of the image where train has it, fails on val."""
    found: dict[str, list[tuple[str, np.ndarray, np.ndarray]]] = {}
    for split in ("train", "calibration", "val"):
        for case in workload.splits[split]:
            sample = case.read()
            image, frame = workload.pipeline.standardise(sample.image)
            label = workload.pipeline.standardise_labels(sample.reference, frame, 0)
            found.setdefault("val" if split == "val" else "train", []).append((case.group, image[..., 0], label))

    def mean_dice(windows: dict[int, tuple[float, float]], near: dict[int, np.ndarray], split: str) -> np.ndarray:
        """Dice of each label, mean over patients."""
        groups: dict[str, list[list[float]]] = {}
        for group, image, label in found[split]:
            predicted = np.zeros(label.shape, np.uint8)
            for number, (low, high) in windows.items():
                predicted[(image > low) & (image <= high) & near[number]] = number
            values = [0.0 if value is None else value for value in dice(Compared(label, predicted, 4, False))]
            groups.setdefault(group, []).append(values[1:])
        return np.mean([np.mean(values, axis=0) for values in groups.values()], axis=0)

    levels = [-1.0, *np.linspace(0.1, 0.9, 7), 2.0]
    found["train"] = found["train"][::2]  # one phase of each patient is enough to choose by
    near, best = {}, {}
    for number in (1, 2, 3):
        share = np.mean([(label == number).mean(axis=0) for _, _, label in found["train"]], axis=0)
        near[number] = share > 0.05
        pairs = [(low, high) for low in levels for high in levels if low < high]
        scores = [mean_dice({number: pair}, near, "train")[number - 1] for pair in pairs]
        best[number] = pairs[int(np.argmax(scores))]

    assert 0.1 < mean_dice(best, near, "val").mean() < BASELINE - MARGIN


def test_shipped_baseline_belongs_to_this_data(workload: Workload) -> None:
    """The demo weights say that they are demo, name this data, are small and good on val and test."""
    if not cardiac.DEMO_WEIGHTS.exists():
        pytest.skip("the demo weights are not in this checkout")
    info = read_info(cardiac.DEMO_WEIGHTS)
    assert info is not None
    assert info.demo and info.workload == workload.name and info.data_digest == workload.data_digest
    assert info.recipe["half"] is True
    assert BASELINE <= info.val["dice_foreground"] <= 0.97 and info.test["dice_foreground"] >= BASELINE - 0.05
    assert cardiac.DEMO_WEIGHTS.stat().st_size <= 2_000_000

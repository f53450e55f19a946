"""The embedded demo tiles (histo_demo, histo_tissue, canvas): same everywhere, hard enough to mean something."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autoopt.errors import StorageError
from autoopt.nets.weights import load_weights, read_info
from autoopt.workloads import histo
from autoopt.workloads.contract import SPLITS, Workload
from autoopt.workloads.demo import histo_demo
from autoopt.workloads.demo.canvas import SIZE, blur
from autoopt.workloads.loading import load_workload

DIGEST = "6beb416faae0f4313a2f1da9836a94d2ecba12b37641d06dc5c89944578db1b4"
MARGIN = 0.10


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    histo_demo.write(home / "demo" / "histo")
    return home


@pytest.fixture(scope="module")
def demo(home: Path) -> Path:
    return home / "demo" / "histo"


@pytest.fixture(scope="module")
def workload(home: Path) -> Workload:
    return load_workload("histo", None, home)


def rows(demo: Path) -> list[dict[str, str]]:
    with (demo / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def decoded(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_same_pixels_on_every_machine(demo: Path) -> None:
    """The digest over all decoded pixels is the pinned one."""
    assert json.loads((demo / "demo.json").read_text()) == {
        "generator": "histo-demo",
        "version": 2,
        "demo": True,
        "digest": DIGEST,
    }


def test_every_tile_is_usable(demo: Path) -> None:
    """Every manifest row has an image and a two-valued mask of 224x224 with both labels in it."""
    names = [row["name"] for row in rows(demo)]
    assert 180 <= len(names) <= 200 and len(set(names)) == len(names)
    assert sorted(path.stem for path in (demo / "images").iterdir()) == sorted(names)
    for name in names:
        mask = decoded(demo / "masks" / f"{name}.png")
        with Image.open(demo / "images" / f"{name}.png") as image:
            assert image.size == (SIZE, SIZE) and image.mode == "RGB"
        assert mask.shape == (SIZE, SIZE) and set(np.unique(mask)) == {0, 255}
        assert 0.05 < (mask > 0).mean() < 0.9


def test_patients_never_cross_splits(demo: Path, workload: Workload) -> None:
    """Patients belong to one split, every split holds every grade, and the patients are shared about 60 / 20 / 20."""
    splits: dict[str, set[str]] = {}
    for row in rows(demo):
        splits.setdefault(row["case"], set()).add(row["split"])
    assert len(splits) == 24 and all(len(found) == 1 for found in splits.values())
    for split, share in (("train", 0.6), ("val", 0.2), ("test", 0.2)):
        chosen = [row for row in rows(demo) if row["split"] == split]
        assert len({row["case"] for row in chosen}) / len(splits) == pytest.approx(share, abs=0.05)
        assert {row["grade"] for row in chosen} == set(histo_demo.GRADES)
    assert workload.demo and all(workload.splits[split] for split in SPLITS)


def test_second_call_returns_at_once(demo: Path) -> None:
    """A complete folder is left as it is."""
    before = {path: path.stat().st_mtime_ns for path in demo.rglob("*")}
    histo_demo.write(demo)
    assert before == {path: path.stat().st_mtime_ns for path in demo.rglob("*")}


def test_unwritable_folder_is_named(tmp_path: Path) -> None:
    """Where the folder cannot be made the message names it and what it needs."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"writable folder with 60 MB free: .*file"):
        histo_demo.write(tmp_path / "file" / "demo")


def macro_dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Mean of foreground and background Dice of two boolean maps."""
    pairs = ((predicted, truth), (~predicted, ~truth))
    return float(np.mean([2.0 * (a & b).sum() / (a.sum() + b.sum()) for a, b in pairs]))


def over_patients(demo: Path, split: str, values: dict[str, float]) -> float:
    """Mean over the patients of a split of the mean over their tiles."""
    groups: dict[str, list[float]] = {}
    for row in rows(demo):
        if row["split"] == split and row["name"] in values:
            groups.setdefault(row["case"], []).append(values[row["name"]])
    return float(np.mean([np.mean(group) for group in groups.values()]))


def colours(image: np.ndarray) -> dict[str, np.ndarray]:
    """What a global threshold could look at: light, saturation, red over blue, and hematoxylin by unmixing."""
    pixels = image.astype(np.float64)
    density = -np.log((pixels + 1.0) / 256.0)
    unmixing = np.linalg.inv(np.array([[0.66, 0.68, 0.30], [0.10, 0.94, 0.28], [0.30, -0.30, 0.90]]))
    light = pixels.max(axis=-1)
    return {
        "light": -pixels.mean(axis=-1),
        "saturation": (light - pixels.min(axis=-1)) / np.maximum(light, 1.0),
        "blue": pixels[..., 2] - pixels[..., 0],
        "hematoxylin": (density @ unmixing)[..., 0],
    }


def test_simple_rules_do_not_solve_it(demo: Path) -> None:
    """All-foreground and the best blurred colour threshold stay well below the shipped baseline on val."""
    weights = read_info(histo.DEMO_WEIGHTS) if histo.DEMO_WEIGHTS.exists() else None
    if weights is None:
        pytest.skip("the demo weights are not in this checkout")
    smooth = blur(6.0)
    truths: dict[str, np.ndarray] = {}
    looks: dict[str, dict[str, np.ndarray]] = {}
    by_split = {split: [row["name"] for row in rows(demo) if row["split"] == split] for split in ("train", "val")}
    for name in by_split["train"][::3] + by_split["val"]:
        truths[name] = decoded(demo / "masks" / f"{name}.png")[::2, ::2] > 0  # every other pixel tells as much
        found = colours(decoded(demo / "images" / f"{name}.png"))
        seen = {key: smooth @ value @ smooth.T for key, value in found.items()}
        looks[name] = {key: (value - value.mean())[::2, ::2] for key, value in seen.items()}  # its own white balance
    best, on_val = 0.0, 0.0
    for key in ("light", "saturation", "blue", "hematoxylin"):
        for level in np.quantile([looks[name][key][::2, ::2] for name in looks], np.linspace(0.1, 0.9, 17)):
            dice = {name: macro_dice(looks[name][key] > level, truths[name]) for name in looks}
            if over_patients(demo, "train", dice) > best:
                best, on_val = over_patients(demo, "train", dice), over_patients(demo, "val", dice)
    everything = {name: macro_dice(np.ones_like(truth), truth) for name, truth in truths.items()}
    baseline = weights.val["dice_macro"]
    assert 0.85 <= baseline <= 0.97
    assert 0.5 < on_val < baseline - MARGIN
    assert over_patients(demo, "val", everything) < baseline - MARGIN


def test_shipped_baseline_belongs_to_this_data(workload: Workload) -> None:
    """The demo weights say that they are demo, name this data and their recipe, are small and good on both splits."""
    if not histo.DEMO_WEIGHTS.exists():
        pytest.skip("the demo weights are not in this checkout")
    info = read_info(histo.DEMO_WEIGHTS)
    assert info is not None
    assert info.demo and info.workload == "histo" and info.data_digest == workload.data_digest
    assert info.recipe["half"] is True and info.recipe["epochs"] > 0
    assert 0.85 <= info.val["dice_macro"] <= 0.97 and 0.85 <= info.test["dice_macro"] <= 0.97
    assert histo.DEMO_WEIGHTS.stat().st_size <= 5_000_000


def test_half_of_the_channels_is_not_enough(workload: Workload) -> None:
    """The shipped baseline segments well; with a random half of its channels set to zero it is clearly worse."""
    if not histo.DEMO_WEIGHTS.exists():
        pytest.skip("the demo weights are not in this checkout")
    import torch

    from autoopt.inference.pipeline import predict

    cases = workload.splits.val[::6]
    model = workload.build()
    load_weights(model, histo.DEMO_WEIGHTS)
    model.eval()

    def run(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            output: np.ndarray = model(torch.from_numpy(batch)).numpy()
        return output

    def quality() -> float:
        dice = []
        for case in cases:
            sample = case.read()
            dice.append(macro_dice(predict(workload.pipeline, run, sample.image) == 1, sample.reference == 1))
        return float(np.mean(dice))

    whole = quality()
    random = np.random.default_rng(0)
    convolutions = [module for module in model.modules() if isinstance(module, torch.nn.Conv2d)]
    for module in convolutions[:-1]:  # the last one makes the labels
        dropped = random.permutation(module.out_channels)[: module.out_channels // 2]
        module.weight.data[torch.from_numpy(dropped)] = 0.0
    assert whole > 0.85
    assert quality() < whole - 0.05

"""The embedded demo heads (brain_demo, brain_phantom): same everywhere, laid out as real data, not too easy."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np
import pytest

from autoopt.nets.weights import read_info
from autoopt.workloads import brain
from autoopt.workloads.contract import IGNORED, Case, Workload
from autoopt.workloads.demo import brain_demo
from autoopt.workloads.loading import load_workload

DIGEST = "326fef91f19817970e50521dea6c88bebbde5d4d4780d0bb2f179a522da9a7c8"
MARGIN = 0.10
EXPECTED = (0.87, 0.99)
"""Between these a baseline on val must be."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    brain_demo.write(home / "demo" / "brain")
    return home


@pytest.fixture(scope="module")
def workload(home: Path) -> Workload:
    return load_workload("brain", None, home)


def test_same_voxels_on_every_machine(home: Path) -> None:
    """The digest over all voxels and the manifest is the pinned one."""
    assert json.loads((home / "demo" / "brain" / "demo.json").read_text()) == {
        "generator": "brain-demo",
        "version": 1,
        "demo": True,
        "digest": DIGEST,
    }


def test_layout_is_that_of_real_data(home: Path, workload: Workload) -> None:
    """Every volume has a head-sized brain; orientations, contrasts and voxel sizes vary, patients stay in one split."""
    folder = home / "demo" / "brain"
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 32 and len({row["patient"] for row in rows}) == 16
    assert len({(row["patient"], row["split"]) for row in rows}) == 16
    for split in ("train", "val", "test"):
        assert {row["modality"] for row in rows if row["split"] == split} == {"T1w", "T2w", "FLAIR"}
    orders, brains_ml = set(), []
    for row in rows:
        image = nibabel.load(folder / "images" / f"{row['name']}.nii.gz")
        mask = nibabel.load(folder / "masks" / f"{row['name']}_brainmask.nii.gz")
        orders.add("".join(nibabel.aff2axcodes(image.affine)))
        assert max(image.header.get_zooms()) / min(image.header.get_zooms()) > 1.3
        brains_ml.append(np.asarray(mask.dataobj).sum() * abs(np.linalg.det(image.affine[:3, :3])) / 1000)
    assert orders == {"LPS", "LAS", "RAS"}
    assert min(brains_ml) > 700 and max(brains_ml) < 2000
    cut = [case for case in workload.splits.test if (case.read().reference == IGNORED).any()]
    assert 0 < len(cut) < len(workload.splits.test)


def scored(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Dice of the brain where the reference counts."""
    known = reference != IGNORED
    hit = (prediction[known] & (reference[known] == 1)).sum()
    return float(2 * hit / (prediction[known].sum() + (reference[known] == 1).sum()))


def in_band(scaled: np.ndarray, low: float, high: float) -> np.ndarray:
    """The largest connected component of all voxels of a band of intensities, with its holes filled."""
    from scipy import ndimage

    components, _ = ndimage.label((scaled > low) & (scaled < high))
    sizes = np.bincount(components.ravel())
    sizes[0] = 0
    return np.asarray(ndimage.binary_fill_holes(components == sizes.argmax()))


def scaled(workload: Workload, cases: Sequence[Case]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each case's image, scaled as the pipeline does, and its reference."""
    pairs = []
    for case in cases:
        sample = case.read()
        bottom, top = np.percentile(sample.image, workload.pipeline.percentiles)
        pairs.append(((sample.image[..., 0] - bottom) / (top - bottom), sample.reference))
    return pairs


def test_simple_rules_do_not_solve_it(workload: Workload) -> None:
    """All-foreground and, for each contrast, the best band of intensities stay well below a baseline on val."""
    best: list[float] = []
    everything: list[float] = []
    for modality in ("T1w", "T2w", "FLAIR"):
        train, val = (
            scaled(workload, [case for case in workload.splits[split] if case.tags["modality"] == modality])
            for split in ("train", "val")
        )
        bands = [(low, high) for low in (0.35, 0.45, 0.55, 0.65) for high in (0.8, 0.9, 1.0)]
        quality = {
            band: np.mean([scored(in_band(image, *band), reference) for image, reference in train[:2]])
            for band in bands
        }
        band = max(bands, key=lambda band: quality[band])
        best += [scored(in_band(image, *band), reference) for image, reference in val]
        everything += [scored(np.ones(reference.shape, bool), reference) for _, reference in val]

    assert 0.4 < np.mean(best) < EXPECTED[0] - MARGIN, f"{best}"
    assert np.mean(everything) < 0.45


def test_shipped_baseline_belongs_to_this_data(workload: Workload) -> None:
    """The demo weights say that they are demo, name this data and their recipe, are small and good on both splits."""
    if not brain.DEMO_WEIGHTS.exists():
        pytest.skip("the demo weights are not in this checkout")
    info = read_info(brain.DEMO_WEIGHTS)
    assert info is not None
    assert info.demo and info.workload == workload.name and info.data_digest == workload.data_digest
    assert all(EXPECTED[0] <= values["dice_foreground"] <= EXPECTED[1] for values in (info.val, info.test))
    assert brain.DEMO_WEIGHTS.stat().st_size <= 2_500_000

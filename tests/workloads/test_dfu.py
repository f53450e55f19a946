"""The dfu workload: the folders it reads, what it refuses, its networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autoopt.errors import BadData, DataError
from autoopt.nets.epochs import shrink_factors
from autoopt.workloads import dfu
from autoopt.workloads.checks import check_workload
from autoopt.workloads.contract import SPLITS


def write_data(folder: Path, manifest: bool = True) -> Path:
    """Forty pictures, two of each photo; the ulcers are dark."""
    random = np.random.default_rng(0)
    lines = ["file,label,split,group,lamp"]
    for label, name in enumerate(dfu.LABELS):
        (folder / name).mkdir(parents=True)
        for index in range(20):
            pixels = random.integers(100 * (1 - label), 256 - 100 * label, size=(20, 24, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"p{index}.{'jpg' if index % 2 else 'png'}")
            split = "train" if index < 12 else "val" if index < 16 else "test"
            file = f"{name}/p{index}.{'jpg' if index % 2 else 'png'}"
            lines.append(f"{file},{label},{split},g{index // 2},{index % 3}")
    if manifest:
        (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_reads_a_folder_with_manifest(tmp_path: Path) -> None:
    """The manifest gives labels, splits, groups and tags; a quarter of train becomes calibration."""
    workload = dfu.workload(write_data(tmp_path))
    check_workload(workload)
    assert [len(workload.splits[split]) for split in SPLITS] == [16, 8, 8, 8]
    case = next(case for case in workload.splits.val if case.id == "ulcer/p13.jpg")
    assert (case.group, dict(case.tags)) == ("g6", {"lamp": "1"})
    sample = case.read()
    assert (sample.image.shape, int(sample.reference)) == ((20, 24, 3), 1)
    tiles, _ = workload.pipeline.prepare(sample.image)
    assert tiles.shape == (1, 3, 128, 128)


def test_folders_of_the_labels_need_no_manifest(tmp_path: Path) -> None:
    """Without a manifest the sub-folders are the labels and the split is the same every time."""
    folder = write_data(tmp_path, manifest=False)
    first, second = dfu.workload(folder), dfu.workload(folder)
    assert sum(len(first.splits[split]) for split in SPLITS) == 40
    assert [case.id for case in first.splits.test] == [case.id for case in second.splits.test]
    assert first.data_digest == second.data_digest
    assert all(int(case.read().reference) == case.id.startswith("ulcer") for case in first.splits.val)


def _edit(old: str, new: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "manifest.csv"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return spoil


def _no_ulcer_in_val(folder: Path) -> None:
    path = folder / "manifest.csv"
    path.write_text("".join(line for line in path.read_text().splitlines(True) if ",1,val," not in line))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            _edit("skin/p0.png,0", "../p0.png,0"),
            r"line 2, file: a file must be named by its path below .*, got '\.\./p0\.png'",
        ),
        (_edit("skin/p0.png,0", "skin/p99.png,0"), r"line 2, file: there is no file 'skin/p99\.png'"),
        (_edit("skin/p0.png,0", "skin/p0.png,2"), r"line 2: label must be 0 \(skin\) or 1 \(ulcer\), got '2'"),
        (_edit("skin/p1.jpg,0,train", "skin/p1.jpg,0,tain"), r"line 3: split must be train, val, test"),
        (_edit("skin/p1.jpg,0,train", "skin/p1.jpg,0,val"), r"'g0' is in train and, with skin/p1\.jpg, in val"),
        (_edit("file,label", "path,label"), r"must have the columns file, label, group, split; file missing"),
        (_no_ulcer_in_val, r"val must have pictures of both labels, it has none of ulcer"),
        (lambda folder: (folder / "skin" / "p0.png").write_bytes(b"no"), r"p0\.png must be a picture that can be read"),
    ],
)
def test_bad_folders_are_refused(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    """What is wrong with a folder is said with the file or the line."""
    folder = write_data(tmp_path)
    spoil(folder)
    with pytest.raises(DataError, match=message):
        dfu.workload(folder)


def test_a_truncated_photo_is_named(tmp_path: Path) -> None:
    """A JPEG whose header is fine but whose end is missing is named when it is read."""
    folder = write_data(tmp_path)
    path = folder / "ulcer" / "p13.jpg"
    path.write_bytes(path.read_bytes()[:-200])
    case = next(case for case in dfu.workload(folder).splits.val if case.id == "ulcer/p13.jpg")
    with pytest.raises(BadData, match=r"ulcer/p13\.jpg must be a picture that can be read"):
        case.read()


@pytest.mark.parametrize(
    ("net", "millions"),
    [("vgg11", 9.2), ("densenet121", 7.0), ("efficientnet_b0", 4.0), ("vit", 2.9), ("small_cnn", 0.3), ("swin", 1.6)],
)
def test_networks(tmp_path: Path, net: str, millions: float) -> None:
    """Every network has the size that is documented and two logits at each resolution that its recipe trains at."""
    torch = pytest.importorskip("torch")
    model = dfu.build(net).eval()
    recipe = dfu.workload(write_data(tmp_path), net=net).recipe
    factors = set(shrink_factors(recipe.epochs, dfu.TILE)) if recipe.coarse else {1}
    with torch.no_grad():
        for factor in factors:
            assert model(torch.zeros(1, 3, *(size // factor for size in dfu.TILE))).shape == (1, 2)
    assert sum(item.numel() for item in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_another_size_is_another_workload(tmp_path: Path) -> None:
    """Pictures are resized to the size that is asked for, and networks are built for it; the name tells which."""
    torch = pytest.importorskip("torch")
    workload = dfu.workload(write_data(tmp_path), net="vit", size=64)
    assert workload.name == "dfu-vit-size64" and workload.pipeline.input_shape == (1, 3, 64, 64)
    assert workload.build is not None
    with torch.no_grad():
        assert workload.build().eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 2)


@pytest.mark.parametrize("net", sorted({*dfu.NETS} - {"swin"}))  # which has no batch normalisation
def test_running_statistics_are_quick(net: str) -> None:
    """No batch normalisation needs thousands of steps to know its mean: small data sets give a few hundred."""
    torch = pytest.importorskip("torch")
    momenta = [item.momentum for item in dfu.build(net).modules() if isinstance(item, torch.nn.BatchNorm2d)]
    assert momenta and all(momentum >= 0.1 for momentum in momenta)

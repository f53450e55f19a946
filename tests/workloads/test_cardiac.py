"""The cardiac workload, the stacks it reads and its network."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import BadData, DataError
from autoopt.workloads import cardiac
from autoopt.workloads.checks import check_workload
from autoopt.workloads.networks.unet import DIVISOR

SHAPE = (3, 20, 24)
"""Slices, height and width of the test stacks."""


def write_data(folder: Path, patients: int = 10) -> Path:
    """Two random stacks per patient, the last two patients in val and test."""
    random = np.random.default_rng(0)
    lines = ["name,patient,split,phase"]
    folder.mkdir(exist_ok=True)
    for index in range(patients):
        split = {patients - 2: "val", patients - 1: "test"}.get(index, "train")
        for phase in ("ED", "ES"):
            label = random.integers(0, 4, SHAPE).astype(np.uint8)
            image = (label / 4 + random.uniform(0, 0.1, SHAPE)).astype(np.float32)
            np.savez_compressed(folder / f"p{index}-{phase}.npz", image=image, label=label)
            lines.append(f"p{index}-{phase},p{index},{split},{phase}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_reads_a_folder(tmp_path: Path) -> None:
    """The manifest gives splits, patients and tags; stacks are (slices, height, width, 1) with their label map."""
    workload = cardiac.workload(write_data(tmp_path))

    check_workload(workload)
    splits = workload.splits
    assert [len(splits[name]) for name in ("train", "calibration", "val", "test")] == [12, 4, 2, 2]
    assert {case.group for case in splits.train}.isdisjoint(case.group for case in splits.calibration)
    assert (splits.val[0].id, splits.val[0].group, dict(splits.val[0].tags)) == ("p8-ED", "p8", {"phase": "ED"})
    sample = splits.val[0].read()
    assert (sample.image.shape, sample.image.dtype, sample.affine) == ((*SHAPE, 1), np.float32, None)
    np.testing.assert_array_equal((sample.image[..., 0] * 4).astype(int), sample.reference)


def test_the_digest_follows_the_data(tmp_path: Path) -> None:
    """Another label is another data set, reading the same folder again is not."""
    folder = write_data(tmp_path)
    before = cardiac.workload(folder).data_digest
    assert cardiac.workload(folder).data_digest == before

    with np.load(folder / "p0-ED.npz") as arrays:
        np.savez_compressed(folder / "p0-ED.npz", image=arrays["image"], label=(arrays["label"] + 1) % 4)

    assert cardiac.workload(folder).data_digest != before


def _edit(old: str, new: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "manifest.csv"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return edit


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "manifest.csv").unlink(), r"must hold manifest.csv with the columns name, patient,"),
        (_edit("name,patient", "name,person"), r"patient missing, it has name, person, split, phase"),
        (_edit("p8-ES,p8,val", "p8-ES,p8,test"), r"'p8' is in val and, with p8-ES, in test: give all cases"),
        (_edit("p8-ES,p8,val", "p8-ES,p8,vla"), r"line 19: split must be train, val, test or calibration, got"),
        (_edit("p8-ES,p8,val", "p8-ES,,val"), r"line 19: patient must not be empty"),
        (_edit("p8-ES,p8,val", "p8-ED,p8,val"), r"line 19: name 'p8-ED' is there twice"),
        (_edit("p8-ES,p8,val,ES\n", ""), r"must list every file, p8-ES is missing"),
        (_edit("p8-ES,", "../p8-ES,"), r"line 19: name must be that of a file .* there is no '../p8-ES'"),
        (lambda folder: (folder / "p3-ED.npz").unlink(), r"there is no 'p3-ED'"),
        (_edit(",val,", ",train,"), r"none are in val"),
    ],
)
def test_refuses_a_wrong_folder(tmp_path: Path, spoil: Callable[[Path], None], message: str) -> None:
    """What is wrong with the table or the files is said when the folder is loaded, with the line."""
    folder = write_data(tmp_path)
    spoil(folder)

    with pytest.raises(DataError, match=message):
        cardiac.workload(folder)


def test_all_problems_at_once(tmp_path: Path) -> None:
    """One error lists everything that is wrong with a folder; one that is not there is said so."""
    folder = write_data(tmp_path)
    (folder / "p3-ED.npz").unlink()
    _edit("p8-ES,p8,val", "p8-ES,,val")(folder)
    _edit("p9-ES,p9,test,ES\n", "")(folder)

    with pytest.raises(DataError) as caught:
        cardiac.workload(folder)
    assert len(caught.value.problems) == 3
    with pytest.raises(DataError, match="is not there"):
        cardiac.workload(tmp_path / "none")


IMAGE, LABEL = np.ones(SHAPE, np.float32), np.zeros(SHAPE, np.uint8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image": IMAGE}, "must hold the arrays image and label, it holds image"),
        ({"image": IMAGE, "label": LABEL[1:]}, r"label must be as large as the image, \(3, 20, 24\), it is \(2, 20"),
        ({"image": IMAGE[0], "label": LABEL[0]}, r"image must be \(slices, height, width\) .* it is \(20, 24\)"),
        ({"image": IMAGE[:0], "label": LABEL[:0]}, r"no size may be 0, it is \(0, 20, 24\)"),
        ({"image": IMAGE * np.nan, "label": LABEL}, "image must hold finite numbers"),
        ({"image": IMAGE * 1j, "label": LABEL}, "image must hold real numbers, it holds complex"),
        ({"image": IMAGE, "label": LABEL + 4}, "label must be 0 to 3, it is 4 to 4"),
        ({"image": IMAGE, "label": LABEL.astype(int) - 1}, "label must be 0 to 3, it is -1 to -1"),
        ({"image": IMAGE, "label": IMAGE}, "label must hold integers, it holds float32"),
        ({"image": np.array([{}]), "label": LABEL}, "must be a whole npz file without objects: Object arrays"),
    ],
)
def test_refuses_wrong_arrays(tmp_path: Path, arrays: dict[str, np.ndarray], message: str) -> None:
    """A stack that cannot be used fails its case with the name of the file and what must hold."""
    case = cardiac.workload(write_data(tmp_path)).splits.val[0]
    np.savez(tmp_path / "p8-ED.npz", **arrays)

    with pytest.raises(BadData, match=re.escape(str(tmp_path / "p8-ED.npz")) + ".*" + message):
        case.read()


@pytest.mark.parametrize("content", ["empty", "cut", "text", "array", "flipped"])
def test_refuses_a_broken_file(tmp_path: Path, content: str) -> None:
    """A file that is cut, altered or no npz fails its case naming the file, whatever the zip reader says."""
    case = cardiac.workload(write_data(tmp_path)).splits.val[0]
    path = tmp_path / "p8-ED.npz"
    whole = path.read_bytes()
    middle = len(whole) // 3
    if content == "array":
        with path.open("wb") as stream:
            np.save(stream, IMAGE)
    else:
        spoiled = whole[:middle] + bytes(255 - byte for byte in whole[middle : middle + 40]) + whole[middle + 40 :]
        path.write_bytes({"empty": b"", "cut": whole[:middle], "text": b"no npz", "flipped": spoiled}[content])

    with pytest.raises(BadData, match=re.escape(str(path)) + " must"):
        case.read()


def test_the_whole_stack_comes_back(tmp_path: Path) -> None:
    """A network that sees the labels in the image gives the stack's own labels back, also in stacks larger than a
    tile in one direction and smaller in the other; only what is outside the central tile is background."""
    shape, steps = (2, 200, 120), np.array([0.0, 0.3, 0.6, 0.9], np.float32)
    label = np.random.default_rng(1).integers(0, 4, shape).astype(np.uint8)

    from autoopt.inference.pipeline import predict

    def run(tile: np.ndarray) -> np.ndarray:
        values = tile[:, 0] * cardiac.PIPELINE.std[0] + cardiac.PIPELINE.mean[0]
        return np.stack([-np.abs(values - step / 0.9) for step in steps], axis=1)

    found = predict(cardiac.PIPELINE, run, steps[label][..., np.newaxis])

    np.testing.assert_array_equal(found[:, 20:180], label[:, 20:180])
    assert not found[:, :20].any() and not found[:, 180:].any()


def test_the_net_is_the_classic_one() -> None:
    """With 64 channels the U-Net has 31 million parameters; the option makes it smaller and part of the name."""
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        whole = cardiac.build()
    small = cardiac.build(base=8).eval()

    with torch.inference_mode():
        output = small(torch.zeros(cardiac.PIPELINE.input_shape))

    assert sum(item.numel() for item in whole.parameters()) == 31_036_676
    assert sum(item.numel() for item in small.parameters()) == 486_436
    assert tuple(output.shape) == (1, 4, *cardiac.TILE)
    assert all(size % DIVISOR == 0 for size in cardiac.TILE)


def test_another_width_is_another_workload(tmp_path: Path) -> None:
    """The default width is called cardiac, others carry their width in the name and build that net."""
    folder = write_data(tmp_path)

    default, narrow = cardiac.workload(folder), cardiac.workload(folder, base=16)

    assert (default.name, narrow.name) == ("cardiac", "cardiac-base16")
    assert default.data_digest == narrow.data_digest
    assert narrow.build is not None
    assert sum(item.numel() for item in narrow.build().parameters()) == 1_942_340

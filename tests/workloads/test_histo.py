"""The histo workload and the data folders it reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from autoopt.core.configuration import digest
from autoopt.errors import BadData, DataError
from autoopt.workloads import histo
from autoopt.workloads.checks import check_workload
from autoopt.workloads.data.pictures import read_grey, read_rgb

SIZE = (12, 10)
"""Height and width of the test tiles."""


def write_data(folder: Path, count: int = 20, manifest: bool = True) -> Path:
    """`count` random tiles with masks, two per case; 12 in train, 4 in val, 4 in test."""
    random = np.random.default_rng(0)
    lines = ["name,case,split,cls"]
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for index in range(count):
        pixels = random.integers(0, 256, size=(*SIZE, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"t{index:02d}.png")
        Image.fromarray((pixels[..., 0] > 100).astype(np.uint8) * 255).save(folder / "masks" / f"t{index:02d}.png")
        split = "train" if index < 12 else "val" if index < 16 else "test"
        lines.append(f"t{index:02d},p{index // 2},{split},{'benign' if index % 2 else 'malignant'}")
    if manifest:
        (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_reads_a_folder_with_manifest(tmp_path: Path) -> None:
    """The manifest gives splits, groups and tags; a quarter of train, in whole groups, becomes calibration."""
    workload = histo.workload(write_data(tmp_path))

    check_workload(workload)
    splits = workload.splits
    assert [len(splits[name]) for name in ("train", "calibration", "val", "test")] == [8, 4, 4, 4]
    assert {case.group for case in splits.train}.isdisjoint(case.group for case in splits.calibration)
    assert [case.id for case in splits.val] == ["t12", "t13", "t14", "t15"]
    assert dict(splits.val[0].tags) == {"cls": "malignant"}
    sample = splits.val[0].read()
    assert (sample.image.shape, sample.image.dtype) == ((*SIZE, 3), np.uint8)
    np.testing.assert_array_equal(sample.reference, sample.image[..., 0] > 100)


def test_splits_a_folder_without_manifest(tmp_path: Path) -> None:
    """Without a manifest the files are split 70 / 15 / 15, the same way every time."""
    folder = write_data(tmp_path, manifest=False)

    first, second = histo.workload(folder).splits, histo.workload(folder).splits

    assert len(first.train) + len(first.calibration) == 14
    assert (len(first.val), len(first.test)) == (3, 3)
    assert [case.id for case in first.test] == [case.id for case in second.test]
    assert all(case.group == case.id for case in first.train)


def test_a_calibration_split_may_be_given(tmp_path: Path) -> None:
    """A manifest that names its calibration cases is taken at its word."""
    folder = write_data(tmp_path)
    text = (folder / "manifest.csv").read_text()
    (folder / "manifest.csv").write_text(
        text.replace("t00,p0,train", "t00,p0,calibration").replace("t01,p0,train", "t01,p0,calibration")
    )

    assert [case.id for case in histo.workload(folder).splits.calibration] == ["t00", "t01"]


def test_digest_follows_the_data(tmp_path: Path) -> None:
    """The digest is the same for a copy elsewhere and another when a pixel or a split changes."""
    original, copy = write_data(tmp_path / "a"), tmp_path / "b"
    shutil.copytree(original, copy)
    before = histo.workload(original).data_digest

    assert histo.workload(copy).data_digest == before
    pixels = read_rgb(copy / "images" / "t00.png")
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(copy / "images" / "t00.png")
    changed = histo.workload(copy).data_digest
    assert changed != before
    text = (copy / "manifest.csv").read_text()
    (copy / "manifest.csv").write_text(text.replace("p8,test", "p8,val"))
    assert histo.workload(copy).data_digest != changed


def test_generated_data_states_its_digest(tmp_path: Path) -> None:
    """A generator's own digest counts, since equal pixels make different files with another zlib."""
    folder = write_data(tmp_path)
    (folder / "demo.json").write_text(json.dumps({"digest": digest("demo")}))

    assert histo.workload(folder).data_digest == digest("demo")


def _remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def _edit(old: str, new: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        manifest = folder / "manifest.csv"
        text = manifest.read_text()
        assert old in text
        manifest.write_text(text.replace(old, new, 1))

    return edit


def _cut(name: str) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return cut


def _flip_byte(name: str) -> Callable[[Path], None]:
    def flip(folder: Path) -> None:
        data = bytearray((folder / name).read_bytes())
        data[data.index(b"IDAT") + 10] ^= 0xFF
        (folder / name).write_bytes(bytes(data))

    return flip


def _resize_mask(folder: Path) -> None:
    Image.new("L", (9, 9)).save(folder / "masks" / "t03.png")


def _empty(folder: Path) -> None:
    for path in folder.glob("*/*.png"):
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_remove("masks/t03.png"), r"images/t03.png has no mask masks/t03\.\*"),
        (_remove("images/t03.png"), r"masks/t03.png has no image in images/"),
        (_resize_mask, r"masks/t03.png must be as large as its image .*images/t03.png, 12x10, it is 9x9"),
        (_cut("images/t03.png"), r"images/t03.png must be a picture that can be read"),
        (_flip_byte("masks/t03.png"), r"masks/t03.png must be a picture that can be read"),
        (_empty, r"images must hold images \(.png, .*\), it holds none"),
        (
            lambda folder: shutil.rmtree(folder / "masks"),
            r"masks must be a folder of images \(.png, .*\), it is not there",
        ),
        (_edit("name,case,split", "name,person,split"), r"columns name, case, split; case missing, it has name, pers"),
        (_edit("t03,p1,train", "t03,p1,trian"), r"line 5: split must be train, val, test or calibration, got 'trian'"),
        (_edit("t03,p1,train", "t02,p1,train"), r"line 5: name 't02' is there twice"),
        (
            _edit("t03,p1,train", "../t03,p1,train"),
            r"line 5: name must be that of a file in images/ .* there is no '../t03'",
        ),
        (
            _edit("t03,p1,train", "t99,p1,train"),
            r"line 5: name must be that of a file in images/ without its ending, there is no 't99'",
        ),
        (_edit("t03,p1,train", "t03,,train"), r"line 5: case must not be empty"),
        (_edit("t03,p1,train", "t03,p1,val"), r"'p1' is in train and, with t03, in val: give all cases"),
        (_edit("t03,p1,train,benign\n", ""), r"must list every file, t03 is missing"),
    ],
)
def test_bad_folders_are_refused(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    """Whatever is wrong with a data folder is said with the file or line it is in."""
    folder = write_data(tmp_path)
    spoil(folder)

    with pytest.raises(DataError, match=message):
        histo.workload(folder)


def test_all_problems_at_once_but_no_flood(tmp_path: Path) -> None:
    """Every problem is listed in one error, the first twenty of them."""
    folder = write_data(tmp_path, count=30)
    for index in range(25):
        (folder / "masks" / f"t{index:02d}.png").unlink()

    with pytest.raises(DataError) as caught:
        histo.workload(folder)

    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1] == "... and 5 more"


def test_missing_folder(tmp_path: Path) -> None:
    """A folder that is not there, or is a file, is said so."""
    (tmp_path / "file").touch()

    with pytest.raises(DataError, match="is not there"):
        histo.workload(tmp_path / "none")
    with pytest.raises(DataError, match="is a file"):
        histo.workload(tmp_path / "file")


def test_reads_every_usual_mode(tmp_path: Path) -> None:
    """Grey, 16-bit grey, palette and transparent images become the RGB that a viewer shows."""
    grey = np.arange(120, dtype=np.uint8).reshape(SIZE)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "grey16.png")
    Image.fromarray(grey).convert("RGB").quantize(120).save(tmp_path / "palette.png")
    clear = np.zeros((*SIZE, 4), np.uint8)
    clear[:6] = (10, 20, 30, 255)
    Image.fromarray(clear).save(tmp_path / "clear.png")

    for name in ("grey", "grey16", "palette"):
        np.testing.assert_array_equal(read_rgb(tmp_path / f"{name}.png"), np.stack([grey] * 3, axis=-1), err_msg=name)
    np.testing.assert_array_equal(read_grey(tmp_path / "grey16.png"), grey)
    laid_on_white = read_rgb(tmp_path / "clear.png")
    assert laid_on_white[0, 0].tolist() == [10, 20, 30]
    assert laid_on_white[11, 0].tolist() == [255, 255, 255]


def test_turns_images_upright(tmp_path: Path) -> None:
    """A tile whose EXIF tag says it lies on its side fits its upright mask."""
    folder = write_data(tmp_path)
    pixels = read_rgb(folder / "images" / "t12.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(pixels))).save(folder / "images" / "t12.png", exif=exif)

    sample = histo.workload(folder).splits.val[0].read()

    np.testing.assert_array_equal(sample.image, pixels)
    assert sample.reference.shape == SIZE


def test_masks_of_zero_and_one_are_not_all_background(tmp_path: Path) -> None:
    """A mask that numbers its labels is refused; the faint edge of a gland beside the tile is background."""
    folder = write_data(tmp_path)
    case = histo.workload(folder).splits.val[0]
    mask = np.zeros(SIZE, np.uint8)
    mask[:5] = 1
    Image.fromarray(mask).save(folder / "masks" / f"{case.id}.png")
    with pytest.raises(BadData, match=r"must be brighter than 127 where gland is, it holds 0 and 1: multiply by 255"):
        case.read()
    Image.fromarray(mask * 2).save(folder / "masks" / f"{case.id}.png")
    assert not case.read().reference.any()


def test_files_that_break_later_are_named(tmp_path: Path) -> None:
    """A file spoiled after the folder was checked fails the case, naming the file."""
    folder = write_data(tmp_path)
    case = histo.workload(folder).splits.val[0]
    _cut("images/t12.png")(folder)

    with pytest.raises(BadData, match=r"images/t12.png must be a picture that can be read"):
        case.read()


def test_the_net_fits_the_pipeline() -> None:
    """The U-Net has about two million parameters and gives logits of the pipeline's shape."""
    torch = pytest.importorskip("torch")
    net = histo.build().eval()

    with torch.inference_mode():
        output = net(torch.zeros(histo.PIPELINE.input_shape))

    assert sum(parameter.numel() for parameter in net.parameters()) == 1_979_042
    assert tuple(output.shape) == (1, 2, *histo.TILE)

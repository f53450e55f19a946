"""The table of readers: every line keeps one contract, and a line that another program adds is as good."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from autoopt.core.tables import added_lines
from autoopt.errors import BadData
from autoopt.workloads.data.dataset import read_dataset
from autoopt.workloads.data.dicom import open_dicom
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.metaimage import open_metaimage
from autoopt.workloads.data.nrrd import open_nrrd
from autoopt.workloads.data.pictures import open_picture
from autoopt.workloads.data.readers import (
    FOLDER,
    READERS,
    images_in,
    name_of,
    open_image,
    suffix_of,
    suffixes_read_by,
)
from tests.workloads.data.folders import all_cases

AFFINE = np.diag([-2.0, -2.0, 3.0, 1.0])


def write_picture(path: Path) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 3, (12, 10)).astype(np.uint8)
    Image.fromarray(values).save(path, **({"lossless": True} if path.suffix.lower() == ".webp" else {}))
    return values


def write_volume(path: Path) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 3, (20, 19, 18)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), path)
    return values


def write_text_header(path: Path) -> np.ndarray:
    """NRRD or MetaImage; the endings of a header alone get their voxels in a file beside them."""
    values = np.random.default_rng(0).integers(0, 3, (20, 19, 18)).astype(np.uint8)
    data, ending = values.tobytes(order="F"), path.suffix.lower()
    beside = "" if ending in (".nrrd", ".mha") else "image.raw"
    if ending in (".nrrd", ".nhdr"):
        text = "NRRD0004\ntype: uchar\ndimension: 3\nspace: LPS\nsizes: 20 19 18\nencoding: raw\n"
        text += "space directions: (2,0,0) (0,2,0) (0,0,3)\n" + (f"data file: {beside}\n" if beside else "") + "\n"
    else:
        text = "NDims = 3\nDimSize = 20 19 18\nElementType = MET_UCHAR\nElementSpacing = 2 2 3\n"
        text += f"ElementDataFile = {beside or 'LOCAL'}\n"
    path.write_bytes(text.encode() + (b"" if beside else data))
    if beside:
        (path.parent / beside).write_bytes(data)
    return values


def write_npy(path: Path) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 3, (12, 10, 7)).astype(np.uint8)
    with path.open("wb") as stream:
        np.save(stream, values)
    return values


def write_npz(path: Path) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 3, (12, 10, 7)).astype(np.uint8)
    with path.open("wb") as stream:
        np.savez_compressed(stream, only=values)
    return values


WRITERS: dict[str, Callable[[Path], np.ndarray]] = {
    **dict.fromkeys(suffixes_read_by(open_picture), write_picture),
    ".nii": write_volume,
    ".nii.gz": write_volume,
    **dict.fromkeys((*suffixes_read_by(open_nrrd), *suffixes_read_by(open_metaimage)), write_text_header),
    ".npy": write_npy,
    ".npz": write_npz,
}
"""A function for each line of the table that writes a grey image of 0, 1 and 2 and returns it."""
VOLUMES = [suffix for suffix, writer in WRITERS.items() if writer in (write_volume, write_text_header)]
LOSSY = (".jpg", ".jpeg")


def test_every_line_is_tested() -> None:
    """A new line of the table needs a writer here, and so comes under the contract; test_dicom.py has its own."""
    assert {*WRITERS, *suffixes_read_by(open_dicom)} == set(READERS)


@pytest.mark.parametrize("suffix", WRITERS)
def test_a_reader_keeps_the_contract(tmp_path: Path, suffix: str) -> None:
    """Header and values agree, values are real and finite, labels are the stored numbers, an affine is (4, 4)."""
    path = tmp_path / f"image{suffix}"
    values = WRITERS[suffix](path)
    opened = open_image(Source(path))
    assert opened.shape == values.shape
    read = opened.read()
    assert read.shape in (opened.shape, (*opened.shape, opened.channels)) and read.dtype.kind in "buif"
    assert opened.value_range == (1.0 if suffix in VOLUMES else 255.0)
    assert (opened.affine is not None) == (suffix in VOLUMES)
    if opened.affine is not None:
        np.testing.assert_allclose(opened.affine, AFFINE)
    if suffix in LOSSY:
        with pytest.raises(BadData, match="must keep its labels"):
            opened.labels()
    else:
        grey = read if read.shape == values.shape else read[..., 0]  # WebP knows no grey: it has three equal channels
        np.testing.assert_array_equal(grey, values)
        np.testing.assert_array_equal(opened.labels(), values)


@pytest.mark.parametrize("suffix", WRITERS)
def test_the_case_of_a_name_means_nothing(tmp_path: Path, suffix: str) -> None:
    """IMAGE.PNG is read as image.png is."""
    low, high = tmp_path / f"image{suffix}", tmp_path / f"IMAGE{suffix.upper()}"
    WRITERS[suffix](low)
    high.write_bytes(low.read_bytes())
    np.testing.assert_array_equal(open_image(Source(high)).read(), open_image(Source(low)).read())


def _cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])


SPOILERS: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("this is no image at all\n" * 40),
    "cut": _cut,
}


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("how", SPOILERS)
def test_a_broken_file_is_bad_data(tmp_path: Path, suffix: str, how: str) -> None:
    """A file that is missing, empty, cut or something else is BadData with its name, at the header or at the values."""
    path = tmp_path / f"image{suffix}"
    WRITERS[suffix](path)
    SPOILERS[how](path)
    with pytest.raises(BadData, match=rf"image{suffix}"):
        open_image(Source(path)).read()


def test_the_longest_ending_counts() -> None:
    """x.nii.gz is NIfTI whatever else ends with .gz, and its name is x."""
    assert suffix_of(Path("a/x.nii.gz")) == ".nii.gz" and name_of(Path("a/x.nii.gz")) == "x"
    assert suffix_of(Path("x.v2.Nii.Gz")) == ".nii.gz" and name_of(Path("x.v2.Nii.Gz")) == "x.v2"
    assert suffix_of(Path("x.gz")) == "" and suffix_of(Path("png")) == ""


def test_an_unknown_ending_is_refused_with_what_is_known(tmp_path: Path) -> None:
    """The message has the file, every ending that has a reader, and that folders may be images."""
    words = r"scan\.abc must have one of the endings \.png, .*\.nii\.gz, .*\.npz, or be a folder of DICOM files$"
    with pytest.raises(BadData, match=words):
        open_image(Source(tmp_path / "scan.abc"))


def test_hidden_files_are_no_images(tmp_path: Path) -> None:
    """What a file manager leaves beside images is passed over, and so is what nobody can read."""
    for name in ("b.png", "a.NPY", "._b.png", ".DS_Store", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in images_in(tmp_path)] == ["a.NPY", "b.png"]


READER = """
import numpy as np
from autoopt.workloads.data.image_file import ImageFile

def open_raw(path):
    values = np.frombuffer(path.read_bytes(), np.uint8)
    if values.size == 5:
        raise RuntimeError("five bytes are too few")
    if values.size == 9:
        return ImageFile.of(np.full((3, 3), np.nan))
    return ImageFile.of(values.reshape(12, 10), np.eye(4))
"""


@pytest.fixture
def raw_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A reader of .raw and one of .better.raw files in a module of somebody else."""
    folder = tmp_path / "somewhere"
    folder.mkdir()
    (folder / "raw_reader.py").write_text(READER)
    monkeypatch.syspath_prepend(str(folder))
    READERS[".raw"] = "raw_reader:open_raw"
    yield
    del READERS[".raw"]
    sys.modules.pop("raw_reader", None)


@pytest.mark.usefixtures("raw_reader")
def test_a_line_of_another_program(tmp_path: Path) -> None:
    """One function and one line make a format readable, in every layout and in child processes too."""
    data = tmp_path / "data"
    for index in range(9):
        for part in ("images", "masks"):
            path = data / part / f"{index}.raw"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(np.random.default_rng(index).integers(0, 2, 120).astype(np.uint8).tobytes())
    dataset = read_dataset(data, "segmentation")
    assert (dataset.dimensions, dataset.channels, dataset.value_range) == (2, 1, 255.0)
    sample = all_cases(dataset)[0].read()
    np.testing.assert_array_equal(sample.image[..., 0], sample.reference)
    assert sample.affine is not None

    asked = "from autoopt.workloads.data.readers import READERS; print(READERS['.raw'])"
    child = subprocess.run(
        [sys.executable, "-c", asked], env={**os.environ, **added_lines()}, capture_output=True, text=True, check=True
    )
    assert child.stdout.strip() == "raw_reader:open_raw"


SERIES = """
import numpy as np
from autoopt.workloads.data.image_file import ImageFile

def open_series(folder):
    slices = [np.load(path) for path in sorted(folder.glob("*.npy"))]
    return ImageFile.of(np.stack(slices, axis=-1), np.diag([1.0, 1.0, 4.0, 1.0]))
"""


def test_a_folder_may_be_an_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a reader of folders a series of slices is one volume, and its slices are part of the data's digest."""
    (tmp_path / "series_reader.py").write_text(SERIES)
    monkeypatch.syspath_prepend(str(tmp_path))
    data = tmp_path / "data"
    for index in range(12):
        folder = data / "ab"[index % 2] / f"scan{index}.v1"
        folder.mkdir(parents=True)
        for number in range(9):
            np.save(folder / f"{number}.npy", np.full((5, 4), number, np.int16))
    assert suffix_of(data / "a") == ""
    READERS[FOLDER] = "series_reader:open_series"
    try:
        dataset = read_dataset(data, "classification")
        sample = all_cases(dataset)[0].read()
        assert sample.image.shape == (5, 4, 9, 1) and sample.affine is not None
        assert sample.image[0, 0, :, 0].tolist() == list(range(9))
        assert name_of(data / "a" / "scan0.v1") == "scan0.v1"
        (data / "a" / "scan0.v1" / "0.npy").rename(data / "a" / "scan0.v1" / "9.npy")
        assert read_dataset(data, "classification").digest != dataset.digest
    finally:
        del READERS[FOLDER]
        sys.modules.pop("series_reader", None)


@pytest.mark.usefixtures("raw_reader")
def test_a_reader_of_somebody_else_may_fail(tmp_path: Path) -> None:
    """Whatever it raises becomes BadData with the file; values that are no image are refused as everywhere."""
    path = tmp_path / "x.raw"
    path.write_bytes(b"12345")
    with pytest.raises(BadData, match=r"x\.raw cannot be read: RuntimeError: five bytes are too few"):
        open_image(Source(path))
    path.write_bytes(b"123456789")
    with pytest.raises(BadData, match=r"x\.raw must hold finite numbers, 9 of its 9 values are NaN or infinite"):
        open_image(Source(path)).read()

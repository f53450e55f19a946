"""NRRD, MetaImage and DICOM series against SimpleITK, and files that lie about what they hold."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import BadData
from autoopt.workloads.data.cases import Item, data_digest
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.nrrd import open_nrrd
from autoopt.workloads.data.readers import files_of, open_image

GOLDEN = Path(__file__).parents[2] / "golden" / "itk-volumes.npz"
ORIENTATIONS = ("axial", "flipped", "left", "coronal", "sagittal", "oblique")
HEADER = """NRRD0004
type: {kind}
dimension: 3
space: {space}
sizes: {sizes}
space directions: (1,0,0) (0,2,0) (0,0,3)
kinds: domain domain domain
endian: little
encoding: {encoding}
space origin: (1,2,3)
{more}
"""
META = """NDims = 3
DimSize = {sizes}
ElementType = {kind}
ElementSpacing = 1 2 3
CompressedData = {packed}
{more}ElementDataFile = {file}
"""


def nrrd(
    path: Path,
    data: bytes,
    *,
    kind: str = "short",
    space: str = "LPS",
    sizes: str = "5 4 3",
    encoding: str = "raw",
    more: str = "",
) -> Path:
    text = HEADER.format(kind=kind, space=space, sizes=sizes, encoding=encoding, more=more)
    path.write_bytes(text.encode() + data)
    return path


def meta(
    path: Path,
    data: bytes,
    *,
    kind: str = "MET_SHORT",
    sizes: str = "5 4 3",
    packed: str = "False",
    file: str = "LOCAL",
    more: str = "",
) -> Path:
    path.write_bytes(META.format(sizes=sizes, kind=kind, packed=packed, file=file, more=more).encode() + data)
    return path


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, np.ndarray]]:
    """The files of `tests/golden/make_itk_volumes.py`, and what SimpleITK reads of them."""
    folder = tmp_path_factory.mktemp("itk")
    with np.load(GOLDEN) as found:
        kept = dict(found)
    for name, data in kept.items():
        if name.startswith("files/"):
            path = folder / name.removeprefix("files/")
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data.tobytes())
    return folder, kept


@pytest.mark.parametrize("ending", [".nrrd", ".nhdr", ".mha", ".mhd", "-dicom"])
def test_voxels_and_affines_are_those_of_simpleitk(golden: tuple[Path, dict[str, np.ndarray]], ending: str) -> None:
    """In six orientations, one of them oblique, every voxel is the same and the affine differs by less than 1e-9."""
    folder, kept = golden
    for name in ORIENTATIONS:
        opened, key = open_image(Source(folder / f"{name}{ending}")), f"{name}{ending if ending == '-dicom' else ''}"
        values, wanted = opened.read(), kept[f"{key}/values"]
        assert opened.shape == wanted.shape and np.array_equal(values, wanted.astype(values.dtype)), name
        assert opened.affine is not None and np.abs(opened.affine - kept[f"{key}/affine"]).max() < 1e-9, name
        assert values.dtype == (wanted.dtype if wanted.dtype.kind in "ui" else np.float32), name


def test_spaces_orders_and_channels_are_understood(tmp_path: Path) -> None:
    """RAS and LAS are turned to RAS, big-endian bytes swapped, channels put last, a detached file's skip respected."""
    values = np.arange(60, dtype=">i2")
    for space, signs in (("LPS", (-1, -1, 1)), ("right-anterior-superior", (1, 1, 1)), ("LAS", (-1, 1, 1))):
        affine = open_nrrd(nrrd(tmp_path / "x.nrrd", values.tobytes(), space=space)).affine
        assert affine is not None and np.diag(affine)[:3].tolist() == [1 * signs[0], 2 * signs[1], 3 * signs[2]]
    path = meta(tmp_path / "big.mha", values.tobytes(), more="BinaryDataByteOrderMSB = True\n")
    assert np.array_equal(open_image(Source(path)).read(), values.reshape(5, 4, 3, order="F"))
    (tmp_path / "x.raw").write_bytes(b"head" + values.astype("<i2").tobytes())
    nrrd(tmp_path / "y.nhdr", b"", more="data file: x.raw\nbyte skip: -1\n")
    assert np.array_equal(open_image(Source(tmp_path / "y.nhdr")).read().ravel("F"), values)
    colours = np.arange(120, dtype=np.uint8)
    packed = zlib.compress(colours.tobytes())
    path = meta(tmp_path / "c.mha", packed, kind="MET_UCHAR", packed="True", more="ElementNumberOfChannels = 2\n")
    opened = open_image(Source(path))
    assert (opened.shape, opened.channels) == ((5, 4, 3), 2)
    assert np.array_equal(opened.read(), np.moveaxis(colours.reshape(2, 5, 4, 3, order="F"), 0, -1))


def test_what_lies_beside_a_header_counts(tmp_path: Path) -> None:
    """The data's digest changes with the file that a header names, and the file must lie in the header's folder."""
    (tmp_path / "v.raw").write_bytes(bytes(120))
    path = nrrd(tmp_path / "v.nhdr", b"", more="data file: v.raw\n")
    assert files_of(path) == [path, tmp_path / "v.raw"]
    item = Item("v", "v", "train", (Source(path),), "a")
    before = data_digest(tmp_path, [item])
    (tmp_path / "v.raw").write_bytes(bytes([1] * 120))
    assert data_digest(tmp_path, [item]) != before
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.raw").symlink_to(tmp_path / "v.raw")
    for name in ("../v.raw", str(tmp_path / "v.raw"), "link.raw", "absent.raw", "LIST", "v%d.raw 1 2 1"):
        for made in (
            nrrd(tmp_path / "in" / "v.nhdr", b"", more=f"data file: {name}\n"),
            meta(tmp_path / "in" / "v.mhd", b"", file=name),
        ):
            with pytest.raises(BadData, match=rf"{made.name} (must have its voxels in|has its voxels in)"):
                open_image(Source(made))


def test_slicers_segments_have_their_names(tmp_path: Path) -> None:
    """A .seg.nrrd gives the names of its segments; layers that overlap are refused in words."""
    names = "Segment0_LabelValue:=2\nSegment0_Name:=liver\nSegment1_LabelValue:=5\nSegment1_Name:=big tumour\n"
    opened = open_image(Source(nrrd(tmp_path / "x.seg.nrrd", bytes(60), kind="uchar", more=names)))
    assert opened.label_names == {2: "liver", 5: "big tumour"}
    path = nrrd(tmp_path / "y.seg.nrrd", bytes(60), kind="uchar", more=names)
    text = path.read_text().replace("dimension: 3", "dimension: 4").replace("sizes: 5 4 3", "sizes: 2 5 4 3")
    path.write_text(text.replace("kinds: domain", "kinds: list domain"))
    with pytest.raises(BadData, match="layers of segments that overlap"):
        open_image(Source(path))


BAD = {
    "a nrrd of exabytes": lambda path: nrrd(path / "x.nrrd", bytes(99), sizes="99999999 99999999 9999"),
    "a nrrd that is cut": lambda path: nrrd(path / "x.nrrd", bytes(99)),
    "a packed nrrd of a gigabyte": lambda path: nrrd(
        path / "x.nrrd", gzip.compress(bytes(9)), sizes="1000 1000 500", encoding="gzip"
    ),
    "a packed nrrd that is too short": lambda path: nrrd(path / "x.nrrd", gzip.compress(bytes(99)), encoding="gzip"),
    "a packed nrrd that is none": lambda path: nrrd(path / "x.nrrd", bytes(99), encoding="gz"),
    "a nrrd of text": lambda path: nrrd(path / "x.nrrd", b"1 2 3", encoding="ascii"),
    "a nrrd of blocks": lambda path: nrrd(path / "x.nrrd", bytes(120), kind="block"),
    "a nrrd in an unknown space": lambda path: nrrd(path / "x.nrrd", bytes(120), space="scanner-xyz"),
    "a nrrd with NaN": lambda path: nrrd(path / "x.nrrd", np.full(60, np.nan, "<f4").tobytes(), kind="float"),
    "a mha of exabytes": lambda path: meta(path / "x.mha", bytes(99), sizes="99999999 99999999 9999"),
    "a mha that is cut": lambda path: meta(path / "x.mha", bytes(99)),
    "a packed mha that is too short": lambda path: meta(path / "x.mha", zlib.compress(bytes(99)), packed="True"),
    "a flat mha": lambda path: meta(path / "x.mha", bytes(120), sizes="5 4 1 3"),
    "a mha of negative size": lambda path: meta(path / "x.mha", bytes(120), sizes="-5 -4 3"),
    "a mha of text": lambda path: meta(path / "x.mha", bytes(120), more="BinaryData = False\n"),
    "a mha without spacing in numbers": lambda path: meta(path / "x.mha", bytes(120), more="Offset = a b c\n"),
    "a mha with infinite numbers": lambda path: meta(
        path / "x.mha", np.full(60, np.inf, "<f8").tobytes(), kind="MET_DOUBLE"
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_files_that_lie_are_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    """What is cut, says that it is larger than it is, or is of no known kind is BadData with the name of the file."""
    path = BAD[name](tmp_path)
    with pytest.raises(BadData, match=path.name) as caught:
        open_image(Source(path)).read()
    assert "\n" not in str(caught.value)


def test_a_header_that_lies_takes_no_memory(tmp_path: Path) -> None:
    """A file too short for its header is refused when it is opened, and what unpacks to less as soon as it ends."""
    cut = nrrd(tmp_path / "cut.nrrd", bytes(99)), meta(tmp_path / "cut.mha", bytes(99))
    packed = nrrd(tmp_path / "packed.nrrd", gzip.compress(bytes(9)), sizes="99 99 99", encoding="gzip")
    for path in (*cut, packed):
        with pytest.raises(BadData, match=rf"{path.name} must hold \d+ bytes of voxels by its header"):
            open_image(Source(path))
    noise = np.random.default_rng(0).bytes(300_000)
    opened = open_image(Source(nrrd(tmp_path / "lie.nrrd", gzip.compress(noise), sizes="500 500 500", encoding="gzip")))
    tracemalloc.start()
    with pytest.raises(BadData, match="it must hold 250000000 bytes of voxels by its header, it holds 300000"):
        opened.read()
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()

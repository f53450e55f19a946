"""Data folders whose tables, pictures, volumes and arrays are damaged or lie are read, or refused as data."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.fuzz.probe import ACCEPTED, REFUSED, Probe
from tests.fuzz.strategies import damaged, examples, nested
from tests.workloads.data.folders import archive, arrays, classes, pairs, pictures, table, volumes

Probes = Callable[[str], Probe]


def manifest(folder: Path) -> Path:
    pairs(folder)
    splits = ["train"] * 6 + ["val"] * 3 + ["test"] * 3
    lines = [f"p{index:02d},P{index},{split}" for index, split in enumerate(splits)]
    (folder / "manifest.csv").write_text("\n".join(["name,patient,split", *lines]) + "\n")
    return folder


def stack(folder: Path, name: str, values: np.ndarray, more: str = "") -> None:
    """A TIFF with a page for each slice, and OME-XML that says so."""
    told = f'<OME><Pixels DimensionOrder="XYZCT" SizeZ="{len(values)}">{more}</Pixels></OME>'
    first, *rest = (Image.fromarray(page) for page in values)
    folder.mkdir(parents=True, exist_ok=True)
    first.save(folder / name, save_all=True, append_images=rest, tiffinfo={270: told})


def stacks(folder: Path) -> Path:
    for index in range(6):
        label = np.random.default_rng(index).integers(0, 2, (4, 6, 5)).astype(np.uint8)
        stack(folder / "images", f"s{index}.ome.tif", label * 100)
        stack(folder / "masks", f"s{index}.ome.tif", label)
    return folder


FOLDERS: dict[str, tuple[Callable[[Path], Any], str, str]] = {
    "pictures": (pairs, "segmentation", "images/p03.png"),
    "masks": (pairs, "segmentation", "masks/p03.png"),
    "photos": (classes, "classification", "benign/benign3.jpg"),
    "volumes": (volumes, "segmentation", "images/v3.nii.gz"),
    "label volumes": (volumes, "segmentation", "masks/v3.nii.gz"),
    "stacks": (stacks, "segmentation", "images/s3.ome.tif"),
    "arrays": (arrays, "segmentation", "images/3.npy"),
    "label arrays": (arrays, "segmentation", "masks/3.npy"),
    "archive": (archive, "classification", "all.npz"),
    "table": (table, "segmentation", "train.csv"),
    "class table": (pictures, "classification", "cases.csv"),
    "manifest": (manifest, "segmentation", "manifest.csv"),
}
"""A folder of each kind, its task, and the file of it that is damaged."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("data")
    for name, (make, _, _) in FOLDERS.items():
        (root / name).mkdir()
        make(root / name)
    return {name: root / name for name in FOLDERS}


def tried(probe: Probe, made: dict[str, Path], name: str, change: Callable[[Path], Any]) -> str:
    """What becomes of a folder after its file was changed."""
    _, task, file = FOLDERS[name]
    with TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(made[name], Path(folder) / "data"))
        change(copy / file)
        outcome = probe(copy, task=task)
    assert outcome.good, (name, outcome)
    return outcome.kind


def written(data: bytes | Callable[[], bytes]) -> Callable[[Path], Any]:
    """What writes these bytes; those of a large file are made when it is written."""
    return lambda path: path.write_bytes(data if isinstance(data, bytes) else data())


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG that says it has that size, whatever it holds."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


def as_picture(kind: str, size: tuple[int, int] = (16, 16), **options: Any) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size).save(stream, kind, **options)
    return stream.getvalue()


def nifti(shape: tuple[int, ...], data: bytes = b"", kind: int = 16, offset: float = 352.0) -> bytes:
    """A NIfTI that says it has that shape, whatever it holds."""
    header = bytearray(352)
    struct.pack_into("<i", header, 0, 348)
    struct.pack_into("<8h", header, 40, len(shape), *shape, *[1] * (7 - len(shape)))
    struct.pack_into("<hh", header, 70, kind, 32)
    struct.pack_into("<8f", header, 76, *[1.0] * 8)
    struct.pack_into("<fff", header, 108, offset, 1.0, 0.0)
    header[344:348] = b"n+1\0"
    return bytes(header) + data


def npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    text = header.encode("latin1") + b"\n"
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
    return b"\x93NUMPY" + version + length + text + data


def shape_of(shape: object, kind: str = "<f4") -> str:
    return f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}"


def npz(pack: int = zipfile.ZIP_DEFLATED, **members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", pack) as target:
        for name, data in members.items():
            target.writestr(f"{name}.npy", data)
    return stream.getvalue()


def _labels(count: int) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.arange(count) % 2)
    return stream.getvalue()


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


LINES = "name,patient,split\n"
BAD: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "a picture that is a pipe": ("pictures", _pipe),
    "a picture without an end": ("pictures", _device),
    "a picture of 13 000 pixels square": ("pictures", written(png(13_000, 13_000, bytes(100)))),
    "a picture of 4 billion pixels": ("pictures", written(png(2**16, 2**16, bytes(100)))),
    "a picture without width": ("pictures", written(png(0, 16, bytes(100)))),
    "a picture of 16 bits and 13 000 pixels": ("pictures", written(png(13_000, 13_000, bytes(100), 16, 0))),
    "a picture with a packed text": (
        "pictures",
        written(
            lambda: png(16, 16, bytes(49 * 16)).replace(
                b"\x00\x00\x00\x00IEND", chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8), 1)) + b"\0\0\0\0IEND"
            )
        ),
    ),
    "a mask of 13 000 pixels square": ("masks", written(png(13_000, 13_000, bytes(100), 1, 0))),
    "a volume of 30 000 voxels square": ("volumes", written(gzip.compress(nifti((30_000, 30_000, 30_000))))),
    "a volume of a gigabyte": ("volumes", written(gzip.compress(nifti((1000, 1000, 250))))),
    "a volume of a gigabyte of zeros": (
        "volumes",
        written(lambda: gzip.compress(nifti((1000, 1000, 250), bytes(10_000_000)))),
    ),
    "a volume with a negative size": ("volumes", written(gzip.compress(nifti((-5, 5, 5))))),
    "a volume of zeros in its header": ("volumes", written(gzip.compress(bytes(352)))),
    "a volume that begins nowhere": ("volumes", written(gzip.compress(nifti((6, 5, 4), bytes(480), 16, float("nan"))))),
    "a volume that begins far away": ("volumes", written(gzip.compress(nifti((6, 5, 4), bytes(480), 16, 1e30)))),
    "a volume of an unknown type": ("volumes", written(gzip.compress(nifti((6, 5, 4), bytes(480), 9999)))),
    "a stack with a long description": (
        "stacks",
        lambda path: stack(path.parent, path.name, np.zeros((4, 6, 5), np.uint8), "<a/>" * 1_100_000),
    ),
    "a stack of many parts": (
        "stacks",
        lambda path: stack(path.parent, path.name, np.zeros((4, 6, 7), np.uint8), "<a/>" * 200_000),
    ),
    "a label volume of a gigabyte": ("label volumes", written(gzip.compress(nifti((1000, 1000, 250))))),
    "a packed volume that is none": ("volumes", written(lambda: gzip.compress(bytes(100_000_000), 1))),
    "an array of exabytes": ("arrays", written(npy(shape_of((2**30, 2**30))))),
    "an array of gigabytes": ("arrays", written(npy(shape_of((30_000, 30_000))))),
    "an array of too many axes": ("arrays", written(npy(shape_of((1,) * 100)))),
    "an array of negative size": ("arrays", written(npy(shape_of((-1, 5)), bytes(100)))),
    "an array with a deep header": ("arrays", written(npy(nested(4000)))),
    "an array with a header of minus signs": ("arrays", written(npy("-" * 9000 + "1"))),
    "an array with a long header": ("arrays", written(npy(" " * 60_000 + shape_of((2, 2)), bytes(16)))),
    "an array with a header of gigabytes": (
        "arrays",
        written(b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"{"),
    ),
    "an array of objects": ("arrays", written(npy(shape_of((2, 2), "|O"), bytes(16)))),
    "an archive of a billion empty images": (
        "archive",
        written(npz(images=npy(shape_of((10**9, 0))), labels=npy(shape_of((10**9, 0))))),
    ),
    "an archive of lying labels": (
        "archive",
        written(npz(images=npy(shape_of((10**9, 1, 0))), labels=npy(shape_of((10**9,), "<i8")))),
    ),
    "an archive of a lying image": (
        "archive",
        written(npz(images=npy(shape_of((9, 10_000, 10_000)), bytes(100)), labels=_labels(9))),
    ),
    "an archive that unpacks to a gigabyte": (
        "archive",
        written(lambda: npz(images=npy(shape_of((9, 6, 5)), bytes(200_000_000)), labels=_labels(9))),
    ),
    "an archive of nothing": ("archive", written(npz())),
    "a table of many columns": ("manifest", written((LINES.strip() + "," * 400_000 + "\n" + "a\n" * 20_000).encode())),
    "a table of many short lines": ("manifest", written((LINES + "\na" * 3_000_000).encode())),
    "a table of one field": ("manifest", written((LINES + "x" * 20_000_000).encode())),
    "a table of one quote": ("manifest", written((LINES + '"' + "a,b\n" * 3_000_000).encode())),
    "a table of null characters": ("manifest", written(bytes(1000))),
    "a table that is a pipe": ("manifest", _pipe),
    "a table without an end": ("manifest", _device),
    "a class table that is a pipe": ("class table", _pipe),
    "a table of many digits": ("class table", written(b"SubjectID,Channel_0,Channel_" + b"9" * 5000 + b",Label\n")),
    "a table of many problems": (
        "class table",
        written(b"SubjectID,Channel_0,Label\n" + b"P,no-such-file.png,1\n" * 10_000),
    ),
    "a table of long names": ("class table", written(b"SubjectID,Channel_0,Label\nP," + b"x" * 100_000 + b".png,1\n")),
    "a digest that is deep": ("pictures", lambda path: (path.parents[1] / "demo.json").write_text(nested(100_000))),
}
REFUSED_OR_NOT = {"a picture with a packed text", "a volume that begins nowhere"}
"""What a library may also pass over."""


def test_whole_folders_are_read(probe: Probes, made: dict[str, Path]) -> None:
    """The folders that all others here are made of can be read."""
    for name in FOLDERS:
        assert tried(probe("data"), made, name, lambda path: None) == ACCEPTED


@pytest.mark.parametrize("name", BAD)
def test_data_that_lie_are_refused(probe: Probes, made: dict[str, Path], name: str) -> None:
    """A file that says it is larger than it is, unpacks to gigabytes, never ends or makes no sense is refused."""
    folder, change = BAD[name]
    assert tried(probe("data"), made, folder, change) == REFUSED or name in REFUSED_OR_NOT


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "WEBP", "GIF", "ICO", "TGA", "PPM", "JPEG2000"])
def test_a_picture_by_another_name_is_read_or_refused(probe: Probes, made: dict[str, Path], kind: str) -> None:
    """A file is what it is, whatever its name says."""
    tried(probe("data"), made, "pictures", written(as_picture(kind, (10, 12))))


@examples(50)
@given(data=st.data())
def test_damaged_data_are_read_or_refused(probe: Probes, made: dict[str, Path], data: st.DataObject) -> None:
    """A file of any kind with any bytes changed is read, or refused as data."""
    name = data.draw(st.sampled_from(sorted(FOLDERS)))
    whole = (made[name] / FOLDERS[name][2]).read_bytes()
    unpacked = name.endswith("volumes") and data.draw(st.booleans())
    new = data.draw(damaged(gzip.decompress(whole) if unpacked else whole))
    tried(probe("data"), made, name, written(gzip.compress(new) if unpacked else new))


@examples(25)
@given(data=st.data())
def test_odd_tables_are_read_or_refused(probe: Probes, made: dict[str, Path], data: st.DataObject) -> None:
    """A table with odd fields in any place is read, or refused as data."""
    name = data.draw(st.sampled_from(["table", "class table", "manifest"]))
    lines = (made[name] / FOLDERS[name][2]).read_text().splitlines()
    odd = st.text(max_size=12) | st.sampled_from(
        ["..", "/", "../../etc/passwd", "\0", '"', ",", "\ufeff", "NaN", "1e400"]
    )
    for _ in range(data.draw(st.integers(1, 3))):
        row = data.draw(st.integers(0, len(lines) - 1))
        fields = lines[row].split(",")
        fields[data.draw(st.integers(0, len(fields) - 1))] = data.draw(odd)
        lines[row] = ",".join(fields)
    text = "\n".join(lines).encode("utf-8", "surrogatepass")
    tried(probe("data"), made, name, written(text))

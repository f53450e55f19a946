"""Arrays in .npy and .npz files: their headers without their data, one case of many, and npz files as a layout."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np

from autoopt.errors import BadData, DataError
from autoopt.workloads.contract import Task
from autoopt.workloads.data.layouts.folders import read_manifest
from autoopt.workloads.data.layouts.items import MANIFEST, Columns, Found, Item, Source, split_named
from autoopt.workloads.data.table import raise_problems

LOCAL_HEADER_BYTES = 30
"""Of a member of a zip file; then come its name and an extra field, whose lengths are its last two numbers."""


@dataclass(frozen=True)
class ArrayHeader:
    """What a file says of an array before its data."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fortran: bool
    data_offset: int


def read_array_header(source: Source) -> ArrayHeader:
    """Shape and dtype of an array, or of one case of it. Raises BadData naming the file."""
    with _naming(source.path):
        if source.key is None:
            with source.path.open("rb") as stream:
                header = _header(stream)
            _mapped(source.path, header)  # a file that is cut short cannot be mapped
        else:
            header = _members(source.path)[1][source.key]
    shape = header.shape if source.index is None else header.shape[1:]
    return ArrayHeader(shape, header.dtype, header.fortran, header.data_offset)


def read_array(source: Source) -> np.ndarray:
    """The array, in memory, or one case of it. Raises BadData naming the file; nothing is unpickled.

    Of many cases in one member the compressed array is unpacked once and kept, the others are mapped.
    """
    with _naming(source.path):
        if source.key is None:
            with source.path.open("rb") as stream:
                values = _mapped(source.path, _header(stream))
        else:
            values = _member(source.path, source.key, source.path.stat().st_mtime_ns, source.index is not None)
        return np.array(values if source.index is None else values[source.index])


def read_archives(folder: Path, archives: Sequence[Path], task: Task) -> Found:
    """Cases from npz files, one each or all in one. Raises DataError with everything that is wrong with them."""
    problems: list[str] = []
    keys = {path: _keys(path, problems) for path in archives}
    raise_problems(problems)
    if len(archives) == 1 and {"images", "labels"} <= keys[archives[0]]:
        return _from_one(archives[0], keys[archives[0]], task)
    problems += [
        f"{path} must hold the array(s) {', '.join(sorted({'image', 'label'} - there))}, it holds "
        f"{', '.join(sorted(there)) or 'none'}"
        for path, there in keys.items()
        if not {"image", "label"} <= there
    ]
    lines = read_manifest(folder, {path.stem for path in archives}, problems)
    columns = Columns.of(list(next(iter(lines.values()), {})))
    raise_problems(problems)
    items = []
    for path in archives:
        line = lines.get(path.stem, {})
        where = f"{folder / MANIFEST}, {path.stem}"
        group, split = columns.read(line, path.stem, where, problems) if line else (path.stem, None)
        source = Source(path, "label")
        target = source if task == "segmentation" else _class_of(read_array(source), str(source), problems)
        tags = {key: value for key, value in line.items() if key not in ("name", columns.split)}
        items.append(Item(path.stem, group, split, (Source(path, "image"),), target, tags))
    return _found(items, "npz files with image and label", problems)


def _from_one(path: Path, keys: set[str], task: Task) -> Found:
    lengths = {
        key: (read_array_header(Source(path, key)).shape or (0,))[0]
        for key in ("images", "labels", "groups", "splits")
        if key in keys
    }
    count = lengths["images"]
    if len(set(lengths.values())) > 1:
        came = ", ".join(f"{length} {key}" for key, length in lengths.items())
        raise DataError(f"{path} must hold as many labels, groups and splits as images, it holds {came}")
    groups, splits = (read_array(Source(path, key)).tolist() if key in keys else None for key in ("groups", "splits"))
    labels = read_array(Source(path, "labels")) if task == "classification" else None
    problems: list[str] = []
    items = []
    for index in range(count):
        name = f"{path.stem}-{index:05d}"
        source = Source(path, "labels", index)
        split = None if splits is None else split_named(_text(splits[index]), f"{path} case {index}", problems)
        target = source if labels is None else _class_of(np.asarray(labels[index]), str(source), problems)
        group = name if groups is None else _text(groups[index])
        items.append(Item(name, group, split, (Source(path, "images", index),), target))
    return _found(items, f"{count} cases in {path.name}", problems)


def _found(items: list[Item], description: str, problems: list[str]) -> Found:
    lengths = {len(item.label) if isinstance(item.label, tuple) else 0 for item in items}
    if len(lengths) > 1:
        problems.append(f"all labels must have one length, some have {', '.join(map(str, sorted(lengths)))}")
    raise_problems(problems)
    return Found(items, description, tuple(f"label_{index}" for index in range(max(lengths, default=0))), named=False)


def _class_of(label: np.ndarray, where: str, problems: list[str]) -> str | tuple[int, ...]:
    """The name of a class, or 0 / 1 for each of several labels."""
    if label.dtype.kind == "O" or label.ndim > 1 or label.size == 0:
        problems.append(
            f"{where} must be one class, or 0 / 1 for each of several labels, it is {label.dtype}, shape {label.shape}"
        )
    elif label.size == 1:
        return _text(label.reshape(()).item())
    elif label.dtype.kind not in "buif" or not np.isin(label, (0, 1)).all():
        problems.append(f"{where} must be 0 or 1 for each of several labels, it is {label.tolist()}")
    else:
        return tuple(int(value) for value in label)
    return ""


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _keys(path: Path, problems: list[str]) -> set[str]:
    try:
        with _naming(path):
            return set(_members(path)[1])
    except BadData as error:
        problems.append(error.message)
        return set()


def _members(path: Path) -> tuple[dict[str, zipfile.ZipInfo], dict[str, ArrayHeader]]:
    """The members of an npz file and their headers; a few bytes are read of each."""
    infos, headers = {}, {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.endswith(".npy"):
                with archive.open(info) as stream:
                    name = info.filename.removesuffix(".npy")
                    infos[name], headers[name] = info, _header(stream)
    return infos, headers


def _member(path: Path, key: str, changed_ns: int, keep: bool) -> np.ndarray:
    infos, headers = _members(path)
    if infos[key].compress_type == zipfile.ZIP_STORED and keep:
        with path.open("rb") as stream:
            stream.seek(infos[key].header_offset)
            name_bytes, extra_bytes = struct.unpack("<HH", stream.read(LOCAL_HEADER_BYTES)[-4:])
        start = infos[key].header_offset + LOCAL_HEADER_BYTES + name_bytes + extra_bytes
        return _mapped(path, headers[key], start)
    return _kept(path, key, changed_ns) if keep else _unpacked(path, key)


@lru_cache(maxsize=2)
def _kept(path: Path, key: str, _changed_ns: int) -> np.ndarray:
    """A whole member, unpacked once; a file that was changed since is another one."""
    return _unpacked(path, key)


def _unpacked(path: Path, key: str) -> np.ndarray:
    with np.load(path, allow_pickle=False) as archive:
        values: np.ndarray = archive[key]
    return values


def _mapped(path: Path, header: ArrayHeader, start: int = 0) -> np.ndarray:
    if 0 in header.shape:
        return np.empty(header.shape, header.dtype)
    order = "F" if header.fortran else "C"
    return np.memmap(path, header.dtype, "r", start + header.data_offset, header.shape, order)  # type: ignore[call-overload, no-any-return]


def _header(stream: IO[bytes]) -> ArrayHeader:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not unpickled")
    return ArrayHeader(shape, dtype, fortran, stream.tell())


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except (BadData, MemoryError):
        raise
    except Exception as error:  # zip, zlib and numpy raise many kinds for broken files: name the file
        reason = str(error).replace(str(path), path.name) or type(error).__name__
        raise BadData(f"{path} must be a whole {path.suffix.lstrip('.')} file without objects: {reason}") from error

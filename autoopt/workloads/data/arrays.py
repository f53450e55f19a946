"""Arrays in .npy and .npz files: headers without data, one case of many without the others. Nothing is unpickled."""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import IO

import numpy as np

from autoopt.errors import BadData
from autoopt.workloads.data.image_file import REAL, ImageFile, Source, reading, value_range

LOCAL_HEADER_BYTES = 30
"""Of a member of a zip file; then come its name and an extra field, whose lengths are its last two numbers."""

SERIES = "series"
"""The array of a .npz file that holds a time series, (channels, time), or of many cases (n, channels, time)."""
MOST_PACKED = 1100
"""No method of zip files that numpy writes packs more bytes into one."""


@dataclass(frozen=True)
class ArrayHeader:
    """What a file says of an array before its data."""

    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    fortran: bool
    data_offset: int


def open_npy(path: Path) -> ImageFile:
    """The array in a .npy file; channels, if it has any, in its last axis. Raises BadData naming the file."""
    return _image(Source(path))


def open_npz(path: Path, key: str | None = None, index: int | None = None) -> ImageFile:
    """The array called `key` in a .npz file, or case number `index` of it; without `key` its only array.

    Raises BadData naming the file.
    """
    if key is None:
        names = array_names(path)
        if len(names) != 1:
            raise BadData(f"{path} must hold one array to be an image, it holds {', '.join(sorted(names)) or 'none'}")
        (key,) = names
    return _image(Source(path, key, index))


def array_names(path: Path) -> set[str]:
    """The names of the arrays in a .npz file. Raises BadData naming the file."""
    with reading(path, _whole(path)):
        return set(_members(path)[1])


def read_header(source: Source) -> ArrayHeader:
    """Shape and dtype of an array, or of one case of it. Raises BadData naming the file."""
    with reading(source.path, _whole(source.path)):
        if source.key is None:
            with source.path.open("rb") as stream:
                header = _header(stream)
            _mapped(source.path, header)  # a file that is cut short cannot be mapped
        else:
            header = _members(source.path)[1][source.key]
    shape = header.shape if source.index is None else header.shape[1:]
    return ArrayHeader(shape, header.dtype, header.fortran, header.data_offset)


def read_array(source: Source) -> np.ndarray:
    """The array, in memory, or one case of it. Raises BadData naming the file.

    Of many cases in one member the compressed array is unpacked once and kept, the others are mapped.
    """
    with reading(source.path, _whole(source.path)):
        if source.key is None:
            with source.path.open("rb") as stream:
                values = _mapped(source.path, _header(stream))
        else:
            values = _member(source.path, source.key, source.path.stat().st_mtime_ns, source.index is not None)
        return np.array(values if source.index is None else values[source.index])


def read_arrays(path: Path, names: Sequence[str]) -> list[np.ndarray]:
    """These arrays of a .npz file. Raises BadData for a file that is broken or lacks one of them."""
    with reading(path, _whole(path)), path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        there = list(archive)
        if set(names) <= set(there):
            return [archive[name] for name in names]
    raise BadData(f"{path} must hold the arrays {' and '.join(names)}, it holds {', '.join(there) or 'none'}")


def _image(source: Source) -> ImageFile:
    header = read_header(source)
    if header.dtype.kind not in REAL:
        raise BadData(f"{source} must hold real numbers, it holds {header.dtype}")
    if source.key == SERIES:
        return _series(source, header)
    return ImageFile(header.shape, None, read=partial(read_array, source), value_range=value_range(header.dtype))


def _series(source: Source, header: ArrayHeader) -> ImageFile:
    """Time series have their channels first in files, as networks take them; here, as in images, they come last."""
    if len(header.shape) != 2:
        whole = "(channels, time)" if source.index is None else "(n, channels, time)"
        raise BadData(f"{source} must have the axes {whole}, its own shape is {header.shape}")
    if 0 in header.shape:
        raise BadData(f"{source} must not be empty, its shape is {header.shape}")
    channels, time = header.shape
    return ImageFile((time,), channels, read=lambda: read_array(source).T.copy(), value_range=value_range(header.dtype))


def _whole(path: Path) -> str:
    return f"a whole {path.suffix.lstrip('.').lower()} file without objects"


def _members(path: Path) -> tuple[dict[str, zipfile.ZipInfo], dict[str, ArrayHeader]]:
    """The members of an npz file and their headers; a few bytes are read of each."""
    state = path.stat()
    return _members_of(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=8)
def _members_of(path: Path, _changed_ns: int, _bytes: int) -> tuple[dict[str, zipfile.ZipInfo], dict[str, ArrayHeader]]:
    """Kept for the many cases of one file; a file that was changed since is another one."""
    infos, headers = {}, {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.endswith(".npy"):
                with archive.open(info) as stream:
                    name = info.filename.removesuffix(".npy")
                    infos[name], headers[name] = info, _header(stream)
                _check_member(info, headers[name])
    return infos, headers


def _check_member(info: zipfile.ZipInfo, header: ArrayHeader) -> None:
    """Raise ValueError where a member cannot hold the array that its header describes, or the file not the member."""
    wanted = header.data_offset + math.prod(header.shape) * header.dtype.itemsize
    if wanted != info.file_size or info.file_size > info.compress_size * MOST_PACKED + LOCAL_HEADER_BYTES:
        raise ValueError(f"{info.filename} must hold an array of shape {str(header.shape)[:100]}, it does not")


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
    """A whole member, unpacked once for many cases."""
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
    try:
        shape, fortran, dtype = read(stream)
    except (MemoryError, RecursionError) as error:  # what Python's parser raises for brackets within brackets
        raise ValueError("its header is nested too deeply") from error
    if any(size < 0 for size in shape):
        raise ValueError(f"its sizes must not be negative, they are {shape}")
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not unpickled")
    return ArrayHeader(shape, dtype, fortran, stream.tell())

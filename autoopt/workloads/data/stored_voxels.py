"""Volumes with a header of text and numbers behind it or in a file beside it, plain or packed: NRRD, MetaImage.

An affine is (4, 4) float64, voxel index to RAS+ millimetres; these formats say theirs in LPS, whose first two axes
point the other way.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import ArrayLike

from autoopt.core.plain_text import short
from autoopt.errors import BadData
from autoopt.workloads.data.image_file import ImageFile, reading
from autoopt.workloads.data.volumes import check_affine, free_bytes, memory_problem, real_numbers

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
MOST_HEADER_BYTES = 1_000_000
MOST_PACKED = 1100
"""zlib never packs more bytes into one."""
PIECE_BYTES = 1 << 20
ANY_ZLIB = 47
"""Tells zlib to see by itself whether the bytes begin as those of gzip or of zlib."""
AXES = 3


@dataclass(frozen=True)
class Voxels:
    """Where the numbers of a volume lie: in `file` from byte `offset` on, or at its end where that is None.

    `shape` has the fastest axis first. `channel_axis` is the axis that is no place, None where there is none.
    """

    file: Path
    offset: int | None
    packed: bool
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    channel_axis: int | None = None

    @property
    def size_bytes(self) -> int:
        """What the numbers take in memory."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def spatial(self) -> tuple[int, ...]:
        """The sizes of the three axes that are places."""
        return tuple(size for axis, size in enumerate(self.shape) if axis != self.channel_axis)


def open_voxels(
    path: Path, voxels: Voxels, affine: np.ndarray | None, label_names: Mapping[int, str] | None = None
) -> ImageFile:
    """The image whose header `path` was read. Raises BadData for sizes and affines that cannot be, and cut files."""
    if len(voxels.spatial) != AXES or min(voxels.shape) < 1:
        raise BadData(f"{path} must hold a 3D volume, none of its sizes zero, its shape is {voxels.shape}")
    if (problem := memory_problem(voxels.shape, free_bytes())) is not None:
        raise BadData(f"{path} {problem}")
    if affine is not None:
        check_affine(path, affine)
    _check_held(path, voxels)
    channels = 1 if voxels.channel_axis is None else voxels.shape[voxels.channel_axis]
    return ImageFile(
        voxels.spatial, channels, read=partial(_read, path, voxels), affine=affine, label_names=label_names
    )


def header_lines(path: Path, is_last: Callable[[str], bool]) -> tuple[list[str], int]:
    """The lines of a header up to the last one, which is among them, and where the bytes behind it begin.

    Raises ValueError where there is no such line within `MOST_HEADER_BYTES`.
    """
    with path.open("rb") as stream:
        lines: list[str] = []
        while stream.tell() < MOST_HEADER_BYTES:
            line = stream.readline(MOST_HEADER_BYTES)
            lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
            if is_last(lines[-1]) or not line:
                return lines, stream.tell()
    raise ValueError("its header has no end")


def file_beside(path: Path, name: str) -> Path:
    """The file in the folder of a header that the header names. Raises BadData for any other place."""
    pure = PurePosixPath(name.strip().replace("\\", "/"))
    found = path.parent / pure
    if pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise BadData(f"{path} must have its voxels in its own folder, it names {short(name)}: put that file beside it")
    if not found.is_file() or not found.resolve().is_relative_to(path.parent.resolve()):
        raise BadData(f"{path} has its voxels in {short(name)}, which must be a file beside it, there is none")
    return found


def whole_numbers(text: str, what: str) -> tuple[int, ...]:
    """The numbers of a field of a header. Raises ValueError."""
    try:
        return tuple(int(part) for part in text.split())
    except ValueError as error:
        raise ValueError(f"{what} must be whole numbers, it is {short(text)}") from error


def affine_of(columns: ArrayLike, origin: ArrayLike, to_ras: np.ndarray) -> np.ndarray:
    """The affine of three steps between voxels and the place of the first one, in a system that `to_ras` turns."""
    made = np.eye(AXES + 1)
    made[:AXES, :AXES] = np.array(columns, np.float64).T
    made[:AXES, AXES] = origin
    return np.asarray(to_ras @ made)


def _check_held(path: Path, voxels: Voxels) -> None:
    """Raise BadData where the file is too short for what its header says, before any room is made for that."""
    wanted, held = voxels.size_bytes, voxels.file.stat().st_size - (voxels.offset or 0)
    if held < (wanted / MOST_PACKED if voxels.packed else wanted):
        raise BadData(f"{path} must hold {wanted} bytes of voxels by its header, {voxels.file.name} holds {held} bytes")


def _read(path: Path, voxels: Voxels) -> np.ndarray:
    """The numbers, (x, y, z) or (x, y, z, channels)."""
    with reading(path, "a whole file that can be read"):
        if voxels.packed:
            flat = np.frombuffer(_unpacked(voxels), voxels.dtype)
        else:
            offset = voxels.file.stat().st_size - voxels.size_bytes if voxels.offset is None else voxels.offset
            flat = np.fromfile(voxels.file, voxels.dtype, math.prod(voxels.shape), offset=offset)
        values = flat.reshape(voxels.shape, order="F")
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    return real_numbers(path, values if voxels.channel_axis is None else np.moveaxis(values, voxels.channel_axis, -1))


def _unpacked(voxels: Voxels) -> bytearray:
    """The bytes of the voxels: memory is taken as they come, so that a header that lies takes none."""
    wanted, found = voxels.size_bytes, bytearray()
    with voxels.file.open("rb") as stream:
        stream.seek(voxels.offset or 0)
        unpacker, rest = zlib.decompressobj(ANY_ZLIB), stream.read(PIECE_BYTES)
        while len(found) < wanted and rest:
            found += unpacker.decompress(rest, min(PIECE_BYTES, wanted - len(found)))
            rest = unpacker.unconsumed_tail
            if unpacker.eof:  # gzip files may be several, one behind the other
                rest, unpacker = unpacker.unused_data, zlib.decompressobj(ANY_ZLIB)
            rest = rest or stream.read(PIECE_BYTES)
    if len(found) < wanted:
        raise ValueError(f"it must hold {wanted} bytes of voxels by its header, it holds {len(found)}")
    return found

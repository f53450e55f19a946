"""Volumes in NRRD files (.nrrd, .nhdr), and segmentations as 3D Slicer saves them (.seg.nrrd).

The format is that of https://teem.sourceforge.net/nrrd/format.html. Read are plain and gzip bytes in the file itself or
in one beside it; text, bzip2, hexadecimal and voxels in several files are refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from autoopt.core.plain_text import short
from autoopt.errors import BadData
from autoopt.workloads.data.image_file import ImageFile, reading
from autoopt.workloads.data.stored_voxels import (
    AXES,
    LPS_TO_RAS,
    Voxels,
    affine_of,
    file_beside,
    header_lines,
    open_voxels,
    whole_numbers,
)

MAGIC = "NRRD000"
SIGNED = {"char": "i1", "short": "i2", "int": "i4", "long long": "i8", "longlong": "i8"}
TYPES: Mapping[str, str] = {
    **{word: code for name, code in SIGNED.items() for word in (name, f"signed {name}", f"{name} int")},
    **{f"unsigned {name}": code.replace("i", "u") for name, code in SIGNED.items()},
    **{f"int{bits}{end}": f"i{bits // 8}" for bits in (8, 16, 32, 64) for end in ("", "_t")},
    **{f"uint{bits}{end}": f"u{bits // 8}" for bits in (8, 16, 32, 64) for end in ("", "_t")},
    "uchar": "u1",
    "ushort": "u2",
    "uint": "u4",
    "ulonglong": "u8",
    "float": "f4",
    "double": "f8",
    "short int": "i2",
    "signed short int": "i2",
    "unsigned short int": "u2",
    "unsigned long long int": "u8",
}
"""What the field `type` may say, to numpy's name without the byte order. Blocks have no meaning as an image."""
SPACES = {
    "left-posterior-superior": LPS_TO_RAS,
    "lps": LPS_TO_RAS,
    "right-anterior-superior": np.eye(4),
    "ras": np.eye(4),
    "left-anterior-superior": np.diag([-1.0, 1.0, 1.0, 1.0]),
    "las": np.diag([-1.0, 1.0, 1.0, 1.0]),
}
"""The field `space`, to what turns it into RAS. A file that does not name one is taken to be LPS, as ITK takes it."""
PACKED = ("gzip", "gz")
SHORT_NAMES = {"datafile": "data file", "byteskip": "byte skip", "lineskip": "line skip"}
PLACES = ("domain", "space")
SERIES = ("list", "time")
"""Kinds of an axis that is neither a place nor the channels of one."""
SEGMENT = re.compile(r"(Segment\d+)_LabelValue")


def open_nrrd(path: Path) -> ImageFile:
    """The volume in a file, (x, y, z), or with its channels in the last axis; the names of Slicer's segments with it.

    Raises BadData naming a file that cannot be read, is no 3D volume, or says that it is larger than it is.
    """
    fields, offset = _header(path)
    with reading(path, "a whole NRRD file"):
        voxels, affine = _voxels(path, fields, offset), _affine(fields)
    return open_voxels(path, voxels, affine, _segments(path, fields))


def data_file(path: Path) -> Path | None:
    """The file beside a header that has its voxels, None where they are in the same file. Raises BadData."""
    name = _header(path)[0].get("data file")
    if name is not None and (name.startswith("LIST") or "%" in name):
        raise BadData(f"{path} must have its voxels in one file, they are in several: save it as one .nrrd")
    return None if name is None else file_beside(path, name)


def geometry_lines(path: Path) -> list[str]:
    """The lines of a header that say the place of the volume, for another file in the same place; without channels."""
    fields = _header(path)[0]
    told: dict[str, str] = {
        name: fields[name] for name in ("space", "space dimension", "space origin") if name in fields
    }
    for name in ("space directions", "spacings"):
        parts = re.findall(r"\([^()]*\)|[^\s()]+", fields.get(name, ""))
        if kept := [part for part in parts if part.lower() not in ("none", "nan")]:
            told[name] = " ".join(kept)
    return [f"{name}: {value}" for name, value in told.items()]


def _header(path: Path) -> tuple[dict[str, str], int]:
    with reading(path, "a whole NRRD file"):
        lines, offset = header_lines(path, lambda line: not line)
        if not lines[0].startswith(MAGIC):
            raise ValueError("it does not begin as one")
    fields: dict[str, str] = {}
    for line in lines[1:]:
        key, pair, value = line.partition(":=")
        if not pair:
            key, mark, value = line.partition(":")
            key = key.strip().lower() if mark else "#"
        if not key.startswith("#"):
            fields[SHORT_NAMES.get(key, key)] = value.strip()
    return fields, offset


def _voxels(path: Path, fields: Mapping[str, str], offset: int) -> Voxels:
    missing = [name for name in ("type", "dimension", "sizes", "encoding") if name not in fields]
    if missing:
        raise ValueError(f"its header lacks {', '.join(missing)}")
    code, encoding = TYPES.get(fields["type"].lower()), fields["encoding"].lower()
    if code is None:
        raise ValueError(f"voxels of the type {short(fields['type'])} are not read")
    if encoding not in (*PACKED, "raw"):
        raise ValueError(f"it is stored as {short(encoding)}, which is not read: save it as raw or gzip")
    if code[1:] != "1" and fields.get("endian", "").lower() not in ("little", "big"):
        raise ValueError("its header must say endian: little or big")
    beside, skip = data_file(path), whole_numbers(fields.get("byte skip", "0"), "byte skip")
    if fields.get("line skip", "0") != "0" or len(skip) != 1 or skip[0] < (0 if encoding in PACKED else -1):
        raise ValueError("it leaves out lines or bytes in a way that is not read: save it again as one .nrrd")
    if skip[0] > 0 and encoding in PACKED:
        raise ValueError("it leaves out packed bytes, which is not read: save it again as one .nrrd")
    start = None if skip[0] < 0 else skip[0] + (0 if beside else offset)
    order = ">" if fields.get("endian", "").lower() == "big" else "<"
    shape = whole_numbers(fields["sizes"], "sizes")
    if fields["dimension"] != str(len(shape)):
        raise ValueError(f"it has {len(shape)} sizes and says that it has {short(fields['dimension'])}")
    return Voxels(
        beside or path, start, encoding in PACKED, np.dtype(order + code), shape, _channel_axis(fields, len(shape))
    )


def _channel_axis(fields: Mapping[str, str], count: int) -> int | None:
    """The axis that is no place, by the directions and kinds of the axes. Raises ValueError where it is no channels."""
    kinds = fields.get("kinds", "").lower().split()
    if kinds and len(kinds) != count:
        raise ValueError(f"it must have {count} kinds of axes, it has {len(kinds)}")
    other = [axis for axis, kind in enumerate(kinds) if kind not in PLACES]
    if count == AXES and len(other) in (0, count):
        return None
    if count != AXES + 1 or len(other) != 1:
        raise ValueError(f"it must hold one 3D volume, it has {count} axes of the kinds {short(' '.join(kinds))}")
    if kinds[other[0]] in SERIES:
        layers = any(SEGMENT.fullmatch(key) for key in fields)
        what = "layers of segments that overlap" if layers else f"a series of volumes (an axis of {kinds[other[0]]})"
        raise ValueError(f"it holds {what}: save each as a file of its own")
    return other[0]


def _affine(fields: Mapping[str, str]) -> np.ndarray | None:
    """The affine, None where the file says nothing of the size of its voxels."""
    space = fields.get("space", "lps").lower()
    if space not in SPACES:
        raise ValueError(f"its space {short(space)} is not known: it must be one of {', '.join(SPACES)}")
    origin = _vectors(fields.get("space origin", "(0,0,0)"))
    if "space directions" in fields:
        columns = _vectors(fields["space directions"])
    elif "spacings" in fields:
        steps = [float(text) for text in fields["spacings"].split() if text.lower() != "nan"]
        columns = [tuple(row) for row in np.diag(steps)]
    else:
        return None
    if len(columns) != AXES or len(origin) != 1 or {len(vector) for vector in (*columns, *origin)} != {AXES}:
        raise ValueError("it must say the directions of three axes in three numbers each, and one origin")
    return affine_of(columns, origin[0], SPACES[space])


def _vectors(text: str) -> list[tuple[float, ...]]:
    """The vectors of a field such as "none (1,0,0) (0,1,0) (0,0,1)"."""
    return [tuple(float(part) for part in inner.split(",")) for inner in re.findall(r"\(([^()]*)\)", text)]


def _segments(path: Path, fields: Mapping[str, str]) -> Mapping[int, str] | None:
    """The names of the segments by their values, None for a file that has none. Raises BadData for two of one value."""
    found: dict[int, str] = {}
    for key in fields:
        if (match := SEGMENT.fullmatch(key)) is not None:
            with reading(path, "a segmentation whose segments have values and names"):
                value, name = int(fields[key]), fields.get(f"{match[1]}_Name", match[1])
            if value in found:
                raise BadData(f"{path} must have one segment for each value, {found[value]} and {name} have {value}")
            found[value] = name
    return found or None

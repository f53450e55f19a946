"""Volumes in MetaImage files (.mha, .mhd): a header of text, then the voxels, plain or packed by zlib.

Read are binary voxels in the file itself or in one beside it; text and voxels in several files are refused by name.
"""

from __future__ import annotations

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

LAST = "ElementDataFile"
"""The field that ends a header."""
HERE = "LOCAL"
TYPES: Mapping[str, str] = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
"""What `ElementType` may say, to numpy's name without the byte order; MET_LONG has four bytes, as ITK takes it."""
ORIGIN = ("Offset", "Position", "Origin")
ROTATION = ("TransformMatrix", "Rotation", "Orientation")
SPACING = ("ElementSpacing", "ElementSize")
"""Names that the same thing may have."""
ONLY_TOLD = ("CenterOfRotation", "AnatomicalOrientation")
"""Fields of the place that no voxel moves by."""
BIG = ("BinaryDataByteOrderMSB", "ElementByteOrderMSB")
TRUE = ("true", "1")


def open_metaimage(path: Path) -> ImageFile:
    """The volume in a file, (x, y, z), or with its channels in the last axis.

    Raises BadData naming a file that cannot be read, is no 3D volume, or says that it is larger than it is.
    """
    fields, offset = _header(path)
    with reading(path, "a whole MetaImage file"):
        voxels, affine = _voxels(path, fields, offset), _affine(fields)
    return open_voxels(path, voxels, affine)


def data_file(path: Path) -> Path | None:
    """The file beside a header that has its voxels, None where they are in the same file. Raises BadData."""
    name = _header(path)[0][LAST]
    if name == HERE:
        return None
    if name.startswith("LIST") or "%" in name:
        raise BadData(f"{path} must have its voxels in one file, they are in several: save it as one .mha")
    return file_beside(path, name)


def geometry_lines(path: Path) -> list[str]:
    """The lines of a header that say the place of the volume, for another file in the same place."""
    fields = _header(path)[0]
    return [f"{name} = {fields[name]}" for name in (*ROTATION, *ORIGIN, *SPACING, *ONLY_TOLD) if name in fields]


def _header(path: Path) -> tuple[dict[str, str], int]:
    with reading(path, "a whole MetaImage file"):
        lines, offset = header_lines(path, lambda line: line.partition("=")[0].strip() == LAST)
        pairs = [line.partition("=")[::2] for line in lines]
        fields = {key.strip(): value.strip() for key, value in pairs}
        if LAST not in fields:
            raise ValueError(f"its header has no {LAST}")
    return fields, offset


def _voxels(path: Path, fields: Mapping[str, str], offset: int) -> Voxels:
    code = TYPES.get(fields.get("ElementType", "").upper())
    if code is None:
        raise ValueError(f"ElementType must be a number, it is {short(fields.get('ElementType', 'missing'))}")
    if fields.get("BinaryData", "True").lower() not in TRUE:
        raise ValueError("its voxels are text, which is not read: save it with BinaryData = True")
    shape = whole_numbers(fields.get("DimSize", ""), "DimSize")
    if fields.get("NDims") != str(len(shape)):
        raise ValueError(f"it has {len(shape)} sizes and says NDims = {short(fields.get('NDims', 'nothing'))}")
    channels = whole_numbers(fields.get("ElementNumberOfChannels", "1"), "ElementNumberOfChannels")
    skip = whole_numbers(fields.get("HeaderSize", "0"), "HeaderSize")
    packed, beside = fields.get("CompressedData", "False").lower() in TRUE, data_file(path)
    if len(channels) != 1 or len(skip) != 1 or skip[0] < (0 if packed else -1) or (skip[0] > 0 and packed):
        raise ValueError("its number of channels or the size of its header is not read: save it again as .mha")
    start = None if skip[0] < 0 else skip[0] + (0 if beside else offset)
    order = ">" if any(fields.get(name, "False").lower() in TRUE for name in BIG) else "<"
    several = channels[0] != 1
    return Voxels(
        beside or path,
        start,
        packed,
        np.dtype(order + code),
        (channels[0], *shape) if several else shape,
        0 if several else None,
    )


def _affine(fields: Mapping[str, str]) -> np.ndarray | None:
    """The affine, None where the file says nothing of the size of its voxels."""
    spacing, origin, rotation = (
        next((_numbers(fields[name], name) for name in names if name in fields), None)
        for names in (SPACING, ORIGIN, ROTATION)
    )
    if spacing is None:
        return None
    turned = np.eye(AXES).ravel() if rotation is None else rotation
    place = np.zeros(AXES) if origin is None else origin
    if (len(spacing), len(place), len(turned)) != (AXES, AXES, AXES * AXES):
        raise ValueError("it must say spacing and origin in three numbers and directions in nine")
    return affine_of(turned.reshape(AXES, AXES) * spacing[:, np.newaxis], place.tolist(), LPS_TO_RAS)


def _numbers(text: str, name: str) -> np.ndarray:
    try:
        return np.array([float(part) for part in text.split()])
    except ValueError as error:
        raise ValueError(f"{name} must be numbers, it is {short(text)}") from error

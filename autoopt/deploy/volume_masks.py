"""Masks of volumes as bytes: NIfTI, NRRD as 3D Slicer has segmentations, MetaImage; each in the place of its image."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.errors import BadData
from autoopt.workloads.data import metaimage, nrrd

MOST_DESCRIBED = 79
"""Characters that the description of a NIfTI file holds."""
COLOURS = ((0.9, 0.3, 0.3), (0.3, 0.7, 0.3), (0.3, 0.4, 0.9), (0.9, 0.8, 0.2), (0.7, 0.3, 0.8), (0.2, 0.8, 0.8))
"""Red, green and blue of the segments in 3D Slicer, one after the other."""


def nifti_bytes(mask: np.ndarray, source: Path, title: str) -> bytes:
    """NIfTI, packed: the header of the image with whole numbers as voxels and nothing that told of them before."""
    import nibabel

    image: nibabel.Nifti1Image = nibabel.load(source)  # type: ignore[assignment]  # open_volume has seen to that
    header: Any = image.header.copy()  # type: ignore[no-untyped-call]
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header.extensions.clear()
    for field in ("cal_min", "cal_max", "intent_code", "intent_p1", "intent_p2", "intent_p3"):
        header[field] = 0
    header["intent_name"] = header["aux_file"] = b""
    return _packed(type(image)(mask, image.affine, header), title)


def new_nifti_bytes(mask: np.ndarray, affine: np.ndarray | None, source: Path, title: str) -> bytes:
    """NIfTI, packed, for an image of another format. Raises BadData where that says no place."""
    import nibabel

    if affine is None:
        raise BadData(f"{source} must say the size of its voxels to get a NIfTI mask, it does not: leave out --format")
    made = nibabel.Nifti1Image(mask.astype(np.uint8), affine)  # type: ignore[no-untyped-call]
    made.header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
    return _packed(made, title)


def nrrd_bytes(mask: np.ndarray, source: Path, names: Mapping[int, str], title: str) -> bytes:
    """A .seg.nrrd: the voxels packed, and for each label its name as 3D Slicer has segments."""
    lines = [
        *("NRRD0005", f"# autoopt: {_one_line(title)}", "type: uint8", "dimension: 3"),
        f"sizes: {' '.join(map(str, mask.shape))}",
        *nrrd.geometry_lines(source),
        *("kinds: domain domain domain", "encoding: gzip"),
    ]
    extent = " ".join(f"0 {size - 1}" for size in mask.shape)
    for number, (label, name) in enumerate(names.items()):
        told = {
            "ID": f"Segment_{label}",
            "Name": _one_line(name),
            "LabelValue": label,
            "Layer": 0,
            "Extent": extent,
            "Color": " ".join(map(str, COLOURS[number % len(COLOURS)])),
        }
        lines += [f"Segment{number}_{key}:={value}" for key, value in told.items()]
    lines += ["Segmentation_MasterRepresentation:=Binary labelmap", "Segmentation_ReferenceImageExtentOffset:=0 0 0"]
    return "\n".join([*lines, "", ""]).encode() + gzip.compress(_flat(mask), mtime=0)


def metaimage_bytes(mask: np.ndarray, source: Path, title: str) -> bytes:
    """A .mha with packed voxels."""
    data = zlib.compress(_flat(mask))
    lines = [
        *("ObjectType = Image", "NDims = 3", f"Comment = autoopt: {_one_line(title)}", "BinaryData = True"),
        *("BinaryDataByteOrderMSB = False", "CompressedData = True", f"CompressedDataSize = {len(data)}"),
        *metaimage.geometry_lines(source),
        f"DimSize = {' '.join(map(str, mask.shape))}",
        *("ElementType = MET_UCHAR", "ElementDataFile = LOCAL"),
    ]
    return "\n".join([*lines, ""]).encode() + data


def _packed(made: Any, title: str) -> bytes:
    made.header["descrip"] = f"autoopt: {title}".encode("ascii", "replace")[:MOST_DESCRIBED]
    return gzip.compress(made.to_bytes(), mtime=0)


def _flat(mask: np.ndarray) -> bytes:
    """The voxels with the first axis fastest."""
    return mask.astype(np.uint8).tobytes(order="F")


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()

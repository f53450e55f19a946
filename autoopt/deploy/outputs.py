"""What `autoopt predict` writes of one answer: which files it becomes, their names and their bytes.

A picture gets PNG with the labels as grey values, a NIfTI file .nii.gz on its own grid, anything else .npz with the
array `labels`. Where a place can have several labels at once, pictures and NIfTI get one file of 0 and 1 per label.
"""

from __future__ import annotations

import gzip
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from autoopt.errors import DataError
from autoopt.workloads.data.pictures import TIFF_SUFFIXES, open_picture
from autoopt.workloads.data.readers import suffix_of, suffixes_read_by
from autoopt.workloads.data.stacks import is_stack
from autoopt.workloads.data.volumes import open_volume

PICTURE, VOLUME, ARRAY = ".png", ".nii.gz", ".npz"
OVERLAY, PROBABILITIES = "_overlay.png", "_probabilities.npz"
MOST_DESCRIBED = 79
"""Characters that the description of a NIfTI file holds."""


def kind_of(path: Path) -> str:
    """The ending of the mask of an image file: `PICTURE`, `VOLUME` or `ARRAY`."""
    suffix = suffix_of(path)
    if suffix in suffixes_read_by(open_picture):
        return ARRAY if suffix.endswith(TIFF_SUFFIXES) and is_stack(path) else PICTURE
    return VOLUME if suffix in suffixes_read_by(open_volume) else ARRAY


def mask_names(stem: PurePosixPath, kind: str, labels: Sequence[str] | None) -> list[PurePosixPath]:
    """The files of a mask; `labels` are the names of those that a place can have at once, None where it has one."""
    if labels is None or kind == ARRAY:
        return [_with(stem, kind)]
    return [_with(stem, f"_{word}{kind}") for word in label_words(labels)]


def overlay_name(stem: PurePosixPath) -> PurePosixPath:
    """The picture for people."""
    return _with(stem, OVERLAY)


def probabilities_name(stem: PurePosixPath) -> PurePosixPath:
    """The file of probabilities."""
    return _with(stem, PROBABILITIES)


def label_words(labels: Sequence[str]) -> list[str]:
    """The labels as parts of file names: with their numbers where they would not be told apart otherwise."""
    words = [re.sub(r"[^\w-]+", "_", label) for label in labels]
    if len({word.casefold() for word in words}) == len(words) and all(words):
        return words
    return [f"{index}-{word}" for index, word in enumerate(words)]


def mask_bytes(mask: np.ndarray, kind: str, source: Path, title: str, *, multilabel: bool) -> list[bytes]:
    """The contents of the files that `mask_names` names, for the mask of the image file `source`.

    `mask`: uint8 (*spatial), or with `multilabel` 0 / 1 (*spatial, labels). `title` is the model, as files can say it.
    """
    if kind == ARRAY:
        return [array_bytes({"labels": mask, "model": np.array(title)})]
    parts = list(np.moveaxis(mask, -1, 0)) if multilabel else [mask]
    if kind == PICTURE:
        return [picture_bytes(part, title) for part in parts]
    return [_volume_bytes(part, source, title) for part in parts]


def array_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """A compressed .npz file."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # names of ours, none is allow_pickle
    return stream.getvalue()


def picture_bytes(values: np.ndarray, title: str) -> bytes:
    """A PNG of uint8 (height, width), or RGB (height, width, 3), that says which model made it."""
    from PIL import Image, PngImagePlugin

    notes = PngImagePlugin.PngInfo()
    notes.add_itxt("Software", "autoopt")
    notes.add_itxt("Comment", title)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(values)).save(stream, "PNG", pnginfo=notes)
    return stream.getvalue()


def folder_for(out: Path, name: PurePosixPath) -> Path:
    """The folder of an output, made. Raises DataError for a link on the way, which may lead out of `out`."""
    folder = out
    folder.mkdir(parents=True, exist_ok=True)
    for part in name.parent.parts:
        folder = folder / part
        if folder.is_symlink():
            raise DataError(f"{folder} is a link, which may lead out of {out}: remove it, or choose another -o")
        folder.mkdir(exist_ok=True)
    return folder


def _volume_bytes(mask: np.ndarray, source: Path, title: str) -> bytes:
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
    header["descrip"] = f"autoopt: {title}".encode("ascii", "replace")[:MOST_DESCRIBED]
    made = type(image)(mask, image.affine, header)
    return gzip.compress(made.to_bytes(), mtime=0)


def _with(stem: PurePosixPath, ending: str) -> PurePosixPath:
    return stem.with_name(f"{stem.name}{ending}")

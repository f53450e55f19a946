"""What `autoopt predict` writes of one answer: which files it becomes, their names and their bytes.

A picture gets PNG with the labels as grey values, a volume a file of its own format in its own place, anything else
.npz with the array `labels`. Where a place can have several labels at once, pictures and volumes get one file of 0 and
1 per label, but for DICOM, whose segmentations hold several.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from autoopt.deploy.dicom_output import segmentation_bytes
from autoopt.deploy.volume_masks import metaimage_bytes, new_nifti_bytes, nifti_bytes, nrrd_bytes
from autoopt.errors import DataError
from autoopt.workloads.data.dicom import open_dicom
from autoopt.workloads.data.dicom_series import read_series
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.metaimage import open_metaimage
from autoopt.workloads.data.nrrd import open_nrrd
from autoopt.workloads.data.pictures import TIFF_SUFFIXES, open_picture
from autoopt.workloads.data.readers import suffix_of, suffixes_read_by
from autoopt.workloads.data.stacks import is_stack
from autoopt.workloads.data.volumes import open_volume

PICTURE, VOLUME, ARRAY = ".png", ".nii.gz", ".npz"
NRRD, METAIMAGE, DICOM = ".seg.nrrd", ".mha", ".seg.dcm"
Format = Literal["same", "nifti"]
FORMATS: tuple[Format, ...] = ("same", "nifti")
"""What masks of volumes may be written as."""
OVERLAY, PROBABILITIES = "_overlay.png", "_probabilities.npz"


@dataclass(frozen=True)
class Answered:
    """What a mask is the answer to: the image and its affine; the labels and the model, as files can say it.

    `bundle` is its digest. With `multilabel` a place can have several labels at once.
    """

    source: Source
    affine: np.ndarray | None
    labels: Sequence[str]
    title: str
    bundle: str
    multilabel: bool


def kind_of(path: Path, wanted: Format = "same") -> str:
    """The ending of the mask of an image file: `PICTURE`, `ARRAY`, or that of a format of volumes."""
    suffix = suffix_of(path)
    readers = {
        PICTURE: open_picture,
        VOLUME: open_volume,
        NRRD: open_nrrd,
        METAIMAGE: open_metaimage,
        DICOM: open_dicom,
    }
    kind = next((kind for kind, reader in readers.items() if suffix in suffixes_read_by(reader)), ARRAY)
    if kind == PICTURE and suffix.endswith(TIFF_SUFFIXES) and is_stack(path):
        return ARRAY
    return VOLUME if wanted == "nifti" and kind in (NRRD, METAIMAGE, DICOM) else kind


def mask_names(stem: PurePosixPath, kind: str, labels: Sequence[str] | None) -> list[PurePosixPath]:
    """The files of a mask; `labels` are the names of those that a place can have at once, None where it has one."""
    if labels is None or kind in (ARRAY, DICOM):
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


def mask_bytes(mask: np.ndarray, kind: str, about: Answered) -> list[bytes]:
    """The contents of the files that `mask_names` names. `mask`: uint8 (*spatial), or 0 / 1 (*spatial, labels)."""
    title, path = about.title, about.source.path
    if kind == ARRAY:
        return [array_bytes({"labels": mask, "model": np.array(title)})]
    if kind == DICOM:
        series = read_series(path, about.source.key)
        return [segmentation_bytes(_segments(mask, about), series, title, about.bundle)]
    parts = list(np.moveaxis(mask, -1, 0)) if about.multilabel else [mask]
    if kind == PICTURE:
        return [picture_bytes(part, title) for part in parts]
    if kind == METAIMAGE:
        return [metaimage_bytes(part, path, title) for part in parts]
    if kind == NRRD:
        names = [{1: label} for label in about.labels] if about.multilabel else [dict(enumerate(about.labels))]
        told = [{label: name for label, name in each.items() if label} for each in names]
        return [nrrd_bytes(part, path, name, title) for part, name in zip(parts, told, strict=True)]
    if kind_of(path) == VOLUME:
        return [nifti_bytes(part, path, title) for part in parts]
    return [new_nifti_bytes(part, about.affine, path, title) for part in parts]


def _segments(mask: np.ndarray, about: Answered) -> list[tuple[str, np.ndarray]]:
    """Each label but a background, and where it is."""
    if about.multilabel:
        return list(zip(about.labels, np.moveaxis(mask, -1, 0), strict=True))
    return [(name, mask == label) for label, name in enumerate(about.labels) if label]


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


def _with(stem: PurePosixPath, ending: str) -> PurePosixPath:
    return stem.with_name(f"{stem.name}{ending}")

"""DICOM as images: a folder is a series, or a segmentation of one; see `dicom_headers`, `dicom_series`, `dicom_seg`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from autoopt.core.packages import needs
from autoopt.errors import BadData
from autoopt.workloads.data.dicom_headers import (
    SEGMENTATION,
    holds_dicom,
    patient_name,
    read_slice,
    read_slices,
)
from autoopt.workloads.data.dicom_seg import open_segmentation
from autoopt.workloads.data.dicom_series import read_series, read_values
from autoopt.workloads.data.image_file import ImageFile, Source


def takes(folder: Path, *, below: bool = True) -> bool:
    """Whether a folder is a series: it holds files that begin as DICOM, directly or, with `below`, further down."""
    return holds_dicom(folder, below=below)


@needs("pydicom")
def open_dicom(path: Path, key: str | None = None, grid: Source | None = None) -> ImageFile:
    """The volume of the series in a folder, (x, y, z), or a label map: a segmentation of the series `grid`.

    `key` is the number, description or UID of the series. Raises BadData naming what is no volume.
    """
    if path.is_dir():
        slices = read_slices(path)
        if slices and all(item.modality == SEGMENTATION for item in slices):
            if len(slices) > 1:
                raise BadData(f"{path} must hold one segmentation, it holds {len(slices)}: keep one of them in it")
            return _label_map(slices[0].path, grid)
        series = read_series(path, key)
        return ImageFile(series.shape, 1, read=partial(read_values, series), affine=series.affine)
    return _label_map(path, grid)


@needs("pydicom")
def patient_of(source: Source) -> str | None:
    """What stands for the patient of a series, None where its files do not say. Raises BadData."""
    if not source.path.is_dir():
        return None
    return patient_name(read_slices(source.path))  # of all series: which one is meant does not matter for that


def _label_map(path: Path, grid: Source | None) -> ImageFile:
    item = read_slice(path)
    if item.modality != SEGMENTATION:
        raise BadData(f"{path} is one DICOM image: give the folder of its series, which is read as one volume")
    if grid is None or not grid.path.is_dir():
        came = "no image" if grid is None else str(grid.path)
        raise BadData(
            f"{path} is a DICOM segmentation, which can only be the label map of a DICOM series, not of {came}"
        )
    return open_segmentation(item, read_series(grid.path, grid.key))

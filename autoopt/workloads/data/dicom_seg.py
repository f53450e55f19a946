"""Label maps in DICOM segmentation objects (DICOM-SEG), laid on the grid of the series that they belong to.

Read are BINARY and LABELMAP. A frame lies on the slice at its place: the object must have the frame of reference, the
orientation and the size of pixels of its series. Labels are called as the object calls them (SegmentLabel).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from autoopt.core.plain_text import short
from autoopt.errors import BadData
from autoopt.workloads.data.dicom_headers import SEGMENTATION, Slice, reading_dicom
from autoopt.workloads.data.dicom_series import Series, check_held, pixels
from autoopt.workloads.data.image_file import ImageFile
from autoopt.workloads.data.stored_voxels import LPS_TO_RAS, affine_of

BINARY, LABELMAP = "BINARY", "LABELMAP"
ON_GRID = 0.05
"""How far a frame may lie from its slice, in voxels: positions are written in decimals."""
MOST_LABEL = 254


@dataclass(frozen=True)
class _Frames:
    """What an object says of its frames: the slice of each, and in BINARY the number of its segment."""

    kind: str
    slices: tuple[int, ...]
    segments: tuple[int, ...]
    names: dict[int, str]


def open_segmentation(item: Slice, series: Series) -> ImageFile:
    """The label map of an object on the grid of its series, (x, y, z) of segment numbers, and what these are called.

    Raises BadData naming an object that is of another series, or of a kind that is no label map.
    """
    if item.modality != SEGMENTATION:
        raise BadData(f"{item.path} must be a DICOM segmentation to be a label map, it is {item.modality or 'another'}")
    frames = _frames(item, series)
    return ImageFile(
        series.shape,
        1,
        read=partial(_values, item, series, frames),
        affine=series.affine,
        label_names=frames.names,
    )


def _frames(item: Slice, series: Series) -> _Frames:
    import pydicom

    usual = series.slices[0]
    if item.frame_of_reference and item.frame_of_reference != usual.frame_of_reference:
        raise BadData(
            f"{item.path} must lie on its series {usual.path.parent}, it has another frame of reference: it belongs to "
            "another series"
        )
    if item.size is None or item.size != usual.size:
        raise BadData(f"{item.path} must have frames of {usual.size} pixels as its series, it has {item.size}")
    with reading_dicom(item.path, "a whole DICOM segmentation"):
        found: Any = pydicom.dcmread(item.path, stop_before_pixels=True)
        kind = str(found.SegmentationType)
        if kind not in (BINARY, LABELMAP):
            raise ValueError(f"it is of the type {short(kind)}, which says no labels: save it as {BINARY}")
        names = {int(part.SegmentNumber): str(part.SegmentLabel).strip() for part in found.SegmentSequence}
        groups = list(found.PerFrameFunctionalGroupsSequence)
        if len(groups) != item.frames:
            raise ValueError(f"it must say the place of each of its {item.frames} frames, it says {len(groups)}")
        shared = found.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()]
        slices = tuple(_slice_of(group, shared[0], series) for group in groups)
        segments = tuple(_segment_of(group, shared[0]) for group in groups) if kind == BINARY else ()
        unknown = sorted({*segments} - {*names})
        if unknown:
            raise ValueError(f"its frames are of the segments {short(unknown)}, which it does not describe")
    check_held(replace(item, samples=1), 1 if kind == BINARY else item.bits)
    names = {number: name for number, name in names.items() if number}
    if not names or not all(names.values()) or max(names) > MOST_LABEL:
        raise BadData(f"{item.path} must have 1 to {MOST_LABEL} segments with a SegmentLabel each")
    return _Frames(kind, slices, segments, names)


def _slice_of(group: Any, shared: Any, series: Series) -> int:
    """The number of the slice on which a frame lies. Raises ValueError where it lies on none."""
    measures = _part(group, shared, "PixelMeasuresSequence")
    place = _part(group, shared, "PlanePositionSequence").ImagePositionPatient
    directions = np.array([float(value) for value in _part(group, shared, "PlaneOrientationSequence")[0x00200037]])
    down, across = (float(value) for value in measures.PixelSpacing)
    normal = series.affine[:3, 2] @ LPS_TO_RAS[:3, :3]
    frame = affine_of([directions[:3] * across, directions[3:] * down, normal], [float(v) for v in place], LPS_TO_RAS)
    seen = np.linalg.inv(series.affine) @ frame  # from the frame's pixels to the voxels of the series
    number = round(float(seen[2, 3]))
    ends = seen @ np.array([[0, 0, 0, 1], [series.shape[0], 0, 0, 1], [0, series.shape[1], 0, 1]], float).T
    wanted = np.array([[0, 0, number], [series.shape[0], 0, number], [0, series.shape[1], number]], float).T
    if not np.abs(ends[:3] - wanted).max() <= ON_GRID or not 0 <= number < series.shape[2]:
        raise ValueError("it must lie on the grid of its series, a frame lies elsewhere: resample it")
    return number


def _segment_of(group: Any, shared: Any) -> int:
    return int(_part(group, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber)


def _part(group: Any, shared: Any, name: str) -> Any:
    """A functional group of a frame, or the one that all frames share. Raises ValueError where there is none."""
    found: Sequence[Any] = group.get(name) or shared.get(name) or ()
    if len(found) != 1:
        raise ValueError(f"its frames must have one {name}, they have {len(found)}")
    return found[0]


def _values(item: Slice, series: Series, frames: _Frames) -> np.ndarray:
    stored = pixels(item).reshape(len(frames.slices), *(item.size or ()))
    values = np.zeros(series.shape, np.uint8)
    for number, place in enumerate(frames.slices):
        part, target = stored[number].T, values[..., place]
        if frames.kind == LABELMAP:
            if stored[number].max() > MOST_LABEL:
                raise BadData(f"{item.path} must hold labels up to {MOST_LABEL}, it holds {stored[number].max()}")
            here, new = part > 0, part.astype(np.uint8)
        else:
            here = part > 0
            new = np.full(part.shape, frames.segments[number], np.uint8)
        if np.any(here & (target > 0) & (target != new)):
            raise BadData(
                f"{item.path} must have one segment in each place, segments overlap in slice {place}: save them as "
                "objects of their own, or leave out what overlaps"
            )
        target[here] = new[here]
    return values

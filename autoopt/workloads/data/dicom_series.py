"""A series of DICOM images as one volume: its slices in order, its affine, its values.

Slices are sorted along their normal, as ITK does, and must lie one behind the other in equal steps; what does not is
refused with the names of the files, and so is everything whose values would not be what was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoopt.errors import BadData
from autoopt.workloads.data.dicom_headers import Slice, choose, read_slices, reading_dicom
from autoopt.workloads.data.stored_voxels import LPS_TO_RAS, affine_of
from autoopt.workloads.data.volumes import check_affine, free_bytes, memory_problem

STEP_SHARE, STEP_MM = 0.01, 0.01
"""How far a step between slices may be from the usual one, as a share of it or in mm, the larger of the two."""
TILT_MM = 0.01
"""How far a slice may be shifted within its plane against the first one."""
SAME = 1e-4
"""How far directions and sizes of pixels of one series may differ: files write them in decimals."""
NEEDS_RESCALE = ("CT", "PT")
"""Modalities whose images must say slope and intercept; for others their absence means stored values."""
MOST_PACKED = 1100
"""No compression of DICOM packs more bytes into one."""
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
"""Transfer syntaxes whose pixels are not compressed."""
DECODERS = "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"
FEW_FLOATS = 2**24
"""Whole numbers up to this one are exact in float32."""


@dataclass(frozen=True)
class Series:
    """The slices of a volume in order, its sizes (x, y, z) and its affine, voxel to RAS+ mm."""

    slices: tuple[Slice, ...]
    shape: tuple[int, int, int]
    affine: np.ndarray


def read_series(folder: Path, series: str | None = None) -> Series:
    """The series in a folder, without its values; `series` is that of `choose`.

    Raises BadData naming the files of what is no volume: gaps, several images in one place, tilts, other sizes.
    """
    slices = choose(folder, read_slices(folder), series)
    for item in slices:
        _check_image(item)
    first = slices[0]
    for item in slices[1:]:
        _check_alike(first, item)
    assert first.orientation is not None and first.size is not None and first.spacing is not None
    across, down = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    normal = np.cross(across, down)
    ordered = sorted(slices, key=lambda item: float(normal @ np.array(item.position)))
    step = _step(folder, ordered, normal)
    rows, columns = first.size
    affine = affine_of(
        [across * first.spacing[1], down * first.spacing[0], normal * step],
        ordered[0].position or (),
        LPS_TO_RAS,
    )
    check_affine(folder, affine)
    shape = (columns, rows, len(ordered))
    if (problem := memory_problem(shape, free_bytes())) is not None:
        raise BadData(f"{folder} {problem}")
    return Series(tuple(ordered), shape, affine)


def read_values(series: Series) -> np.ndarray:
    """The values (x, y, z), with slope and intercept: int32 where these are whole numbers, else float32.

    Raises BadData naming the first file whose pixels cannot be read.
    """
    whole = all(_is_whole(item.slope, 1.0) and _is_whole(item.intercept, 0.0) for item in series.slices)
    values = np.empty(series.shape, np.int32 if whole else np.float32)
    for number, item in enumerate(series.slices):
        stored = pixels(item).astype(np.float64)
        scaled = stored * (1.0 if item.slope is None else item.slope) + (item.intercept or 0.0)
        if whole and np.abs(scaled).max() > np.iinfo(np.int32).max:
            raise BadData(f"{item.path} must hold numbers of at most 32 bits, some are larger")
        values[..., number] = scaled.T
    return values


def pixels(item: Slice) -> np.ndarray:
    """The stored pixels of a file, (rows, columns) or (frames, rows, columns). Raises BadData naming it."""
    import pydicom

    with reading_dicom(item.path, "a whole DICOM image"):
        dataset = pydicom.dcmread(item.path)
        if "PixelData" not in dataset:
            raise ValueError("it has no pixels")
        return np.asarray(dataset.pixel_array)


def check_held(item: Slice, bits: int) -> None:
    """Raise BadData where the file is too short for the pixels that it declares, or no decoder for them is there."""
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID

    rows, columns = item.size or (0, 0)
    wanted, held = item.frames * rows * columns * item.samples * bits // 8, item.path.stat().st_size
    native = item.syntax in NATIVE
    if held * (1 if native else MOST_PACKED) < wanted:
        raise BadData(f"{item.path} must hold {wanted} bytes of pixels by its header, the file has {held}")
    if native:
        return
    name = UID(item.syntax).name
    try:
        there = get_decoder(UID(item.syntax)).is_available
    except NotImplementedError as error:
        raise BadData(f"{item.path} is stored in the transfer syntax {name}, which is not read") from error
    if not there:
        raise BadData(f"{item.path} is compressed ({name}), and no decoder of that is installed: {DECODERS}")


def _check_image(item: Slice) -> None:
    """Raise BadData unless a file holds one grey image with a place in space and values that mean something."""
    problem = next(_problems(item), None)
    if problem is not None:
        raise BadData(f"{item.path} {problem}")
    check_held(item, item.bits)


def _problems(item: Slice) -> Iterator[str]:
    """Why a file is no slice of a volume, as ends of sentences."""
    if item.localizer:
        yield f"must be a slice of a volume, it is a localizer, of the series {item.told}"
    if item.size is None or item.bits not in (8, 16, 32):
        yield "must hold an image, it has no pixels of 8, 16 or 32 bits"
    if item.frames != 1:
        yield f"must hold one slice, it holds {item.frames} frames (an enhanced or multi-frame image): convert it first"
    if item.samples != 1 or item.photometric != "MONOCHROME2":
        yield f"must be grey (MONOCHROME2), it is {item.photometric or 'of no kind'} with {item.samples} sample(s)"
    lengths = [len(part or ()) for part in (item.position, item.orientation, item.spacing)]
    if lengths != [3, 6, 2]:
        yield "must say its place: ImagePositionPatient, ImageOrientationPatient and PixelSpacing"
    told = (*(item.position or ()), *(item.orientation or ()), *(item.spacing or ()))
    if not np.isfinite(told).all() or min(item.spacing or (0.0,)) <= 0:
        yield "must say its place in finite numbers, with pixels larger than zero"
    across, down = np.array(item.orientation or (0,) * 6).reshape(2, -1)
    if np.abs([across @ across - 1, down @ down - 1, across @ down]).max() > 100 * SAME:
        yield "must have an orientation of two directions at a right angle, it has not"
    if item.has_table:
        yield "must have values with slope and intercept, it has a table of them (Modality LUT)"
    if (item.slope is None) != (item.intercept is None) or (item.slope is None and item.modality in NEEDS_RESCALE):
        yield f"must have RescaleSlope and RescaleIntercept, which a {item.modality} needs: one of them is missing"
    if item.slope is not None and not (np.isfinite([item.slope, item.intercept or 0.0]).all() and item.slope):
        yield f"must have a slope other than zero, it has {item.slope:g}"


def _check_alike(first: Slice, item: Slice) -> None:
    """Raise BadData where two slices are of no common volume."""
    pairs = {
        "size": (first.size, item.size),
        "modality": (first.modality, item.modality),
        "frame of reference": (first.frame_of_reference, item.frame_of_reference),
        "use of slope and intercept": (first.slope is None, item.slope is None),
    }
    unlike = [what for what, (one, other) in pairs.items() if one != other]
    if np.abs(np.subtract(first.orientation or (), item.orientation or ())).max() > SAME:
        unlike.append("orientation")
    if np.abs(np.subtract(first.spacing or (), item.spacing or ())).max() > SAME:
        unlike.append("size of pixels")
    if unlike:
        raise BadData(f"{item.path} must be of one volume with {first.path.name}, it has another {unlike[0]}")


def _step(folder: Path, ordered: Sequence[Slice], normal: np.ndarray) -> float:
    """The step between slices in mm. Raises BadData naming a gap, two slices in one place, or a tilt."""
    if len(ordered) == 1:
        if not ordered[0].thickness or ordered[0].thickness < 0:
            raise BadData(f"{ordered[0].path} is the only slice and must say SliceThickness, it does not")
        return ordered[0].thickness
    positions = np.array([item.position for item in ordered])
    places = positions @ normal
    steps = np.diff(places)
    usual = float(np.median(steps))
    allowed = max(STEP_SHARE * usual, STEP_MM)
    for number in np.flatnonzero(np.abs(steps - usual) > allowed)[:1]:
        one, other = ordered[number], ordered[number + 1]
        what = f"from {one.path.name} to {other.path.name} it is {steps[number]:g} mm, else {usual:g} mm"
        raise BadData(f"{folder} must have slices in equal steps: {what}; {_why(float(steps[number]), usual)}")
    if usual <= allowed:
        raise BadData(
            f"{folder} must have one slice in each place, {ordered[0].path.name} and {ordered[1].path.name} are in "
            "one: a series of several times, echoes or directions is not one volume; keep one of them in the folder"
        )
    shifts = positions - positions[0] - np.outer(places - places[0], normal)
    if (shift := float(np.abs(shifts).max())) > TILT_MM:
        raise BadData(
            f"{folder} must have slices straight behind each other, they are shifted by up to {shift:.3g} mm in their "
            "plane (a tilted gantry): resample it to a straight grid first"
        )
    return float(places[-1] - places[0]) / (len(ordered) - 1)


def _why(step: float, usual: float) -> str:
    if abs(step) < STEP_MM:
        return "two images are in one place, as in a series of several times or echoes: keep one of them in the folder"
    return "a slice is missing: restore it" if step > usual else "slices of two series are mixed: keep one of them"


def _is_whole(value: float | None, default: float) -> bool:
    number = default if value is None else value
    return number == round(number) and abs(number) < FEW_FLOATS

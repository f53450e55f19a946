"""Volumes in NIfTI files (.nii, .nii.gz): reading and checking them, each problem with the name of its file.

An affine is (4, 4) float64, voxel index to RAS+ millimetres: the sform of the file, else its qform. A file
that has neither is taken to be stored in RAS order with the voxel size that its header gives.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.errors import BadData
from autoopt.workloads.data.image_file import REAL, ImageFile, reading, value_problem

PEAK_BYTES_PER_VOXEL = 4 * 6
"""What the pipeline holds at its peak: about six float32 arrays of the image's size."""
AFFINE_TOLERANCE = 1e-3
"""How far two affines may differ, as a share of the smallest voxel size: as much as file formats round."""
SMALLEST_VOLUME = 1e-6
"""The least volume that the unit vectors of the three axes must span: below it two of them are the same."""
MOST_VALUES = 8
DIMENSIONS = 3
MOST_CHANNELS = 8
"""More volumes in one file than that are no channels until somebody says so."""
TIME_UNITS = ("sec", "msec", "usec")
MOST_BYTES_UNSEEN = 50_000_000
"""A volume of so many bytes is read whatever its header says."""
PIECE_BYTES = 1 << 20
GZIP = b"\x1f\x8b"
NIFTI_SIZES = tuple(size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big"))
"""How NIfTI-1 and NIfTI-2 begin, in both orders of bytes."""
WHOLE = "a whole NIfTI file that can be read"


@dataclass(frozen=True)
class VolumeHeader:
    """What a file says before its voxels are read: the three sizes of its volume, and its affine.

    With several volumes on one grid `shape` has their number as a fourth size. `volumes` is that of `ImageFile`.
    """

    shape: tuple[int, ...]
    affine: np.ndarray
    volumes: str | None = None


def open_volume(path: Path) -> ImageFile:
    """The volume in a file, (x, y, z), or several on one grid as its channels, (x, y, z, channels), with its affine.

    Raises BadData naming a file that cannot be read, holds no 3D volume, has an affine without volume, or needs more
    memory than is free.
    """
    image, header = _opened(path)
    problem = memory_problem(header.shape, _available_bytes())
    if problem is not None:
        raise BadData(f"{path} {problem}")
    channels = 1 if len(header.shape) == DIMENSIONS else None
    read = partial(_voxels, path, image, header)
    return ImageFile(header.shape, channels, read=read, affine=header.affine, volumes=header.volumes)


def read_volume(path: Path, available_bytes: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The volume (x, y, z) with the file's scaling applied, and its affine.

    Integers without scaling keep their dtype, all else is float32. Raises BadData as `open_volume`, with
    `available_bytes` in the place of the host's free memory, and for voxels that are not real and finite.
    """
    image, header = _opened(path)
    _check_single(path, header)
    problem = memory_problem(header.shape, _available_bytes() if available_bytes is None else available_bytes)
    if problem is not None:
        raise BadData(f"{path} {problem}")
    values = _voxels(path, image, header)
    if (problem := value_problem(values)) is not None:
        raise BadData(f"{path} {problem}")
    return values, header.affine


def read_mask(path: Path, labels: Collection[int]) -> np.ndarray:
    """The label map of a file, uint8 (x, y, z). Raises BadData for any value but `labels` and as `read_volume`."""
    values, _ = read_volume(path)
    came = np.unique(values)
    wrong = [f"{value:g}" for value in came if float(value) not in labels]
    if wrong:
        more = f" and {len(wrong) - MOST_VALUES} more" if len(wrong) > MOST_VALUES else ""
        allowed = ", ".join(str(label) for label in sorted(labels))
        raise BadData(
            f"{path} must hold the labels {allowed} only, it also holds {', '.join(wrong[:MOST_VALUES])}{more}"
        )
    return values.astype(np.uint8)


def read_header(path: Path) -> VolumeHeader:
    """The three sizes and the affine of a file, without its voxels. Raises BadData naming the file."""
    header = _opened(path)[1]
    _check_single(path, header)
    return header


def memory_problem(shape: Sequence[int], available_bytes: int) -> str | None:
    """Why a volume of this shape is too large for that much memory, as the end of a sentence, or None."""
    needed = math.prod(shape) * PEAK_BYTES_PER_VOXEL
    if needed <= available_bytes:
        return None
    size = "x".join(str(length) for length in shape)
    return (
        f"must fit into memory: its {size} voxels need about {_gigabytes(needed)}, {_gigabytes(available_bytes)} are "
        "free; resample or crop it, or use a larger host"
    )


def check_same_grid(
    image_path: Path,
    image_shape: Sequence[int],
    image_affine: np.ndarray,
    mask_path: Path,
    mask_shape: Sequence[int],
    mask_affine: np.ndarray,
) -> None:
    """Raise BadData unless the mask has the shape and, within `AFFINE_TOLERANCE`, the affine of its image."""
    if tuple(image_shape) != tuple(mask_shape):
        raise BadData(
            f"{mask_path} must have the shape of its image {image_path}, {tuple(image_shape)}, it has "
            f"{tuple(mask_shape)}"
        )
    voxel_mm = float(np.linalg.norm(image_affine[:3, :3], axis=0).min())
    away = np.abs(image_affine - mask_affine).max()
    if not away <= AFFINE_TOLERANCE * voxel_mm:
        raise BadData(
            f"{mask_path} must lie where its image {image_path} lies: the affines must be equal, they are "
            f"{_rows(mask_affine)} and {_rows(image_affine)}; resample the mask to the grid of its image"
        )


def _voxels(path: Path, image: Any, header: VolumeHeader) -> np.ndarray:
    with reading(path, WHOLE):
        _check_held(path, image)
        values = np.asarray(image.dataobj).reshape(header.shape)
    if values.dtype.kind not in REAL:
        raise BadData(f"{path} must hold one real number per voxel, its voxels are {values.dtype}")
    if values.dtype.kind != "f":
        return values
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    if np.count_nonzero(np.isinf(single)) > np.count_nonzero(np.isinf(values)):
        raise BadData(f"{path} must hold numbers within the range of float32, some are larger")
    return single


def _opened(path: Path) -> tuple[Any, VolumeHeader]:
    """The file with its header read. Raises BadData when it is no volume."""
    import nibabel

    _check_packed(path)
    with reading(path, WHOLE):
        image: Any = nibabel.load(path)
        if not isinstance(image, nibabel.Nifti1Pair):  # also NIfTI-2
            raise BadData(f"{path} must be a NIfTI file, it is {type(image).__name__}")
        affine, shape = _affine(image), tuple(int(size) for size in image.shape)
    more = [size for size in shape[DIMENSIONS:] if size != 1]
    if len(more) > 1:
        raise BadData(f"{path} must hold one 3D volume, or one axis of them, its shape is {shape}: store one per file")
    single = (*shape[:DIMENSIONS], *more)
    if len(single) < DIMENSIONS or 0 in single:
        raise BadData(f"{path} must hold a 3D volume, none of its sizes zero, its shape is {shape}")
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or lengths.min() <= 0 or _volume(affine[:3, :3] / lengths) < SMALLEST_VOLUME:
        raise BadData(f"{path} must have an affine that maps its voxels to a volume in mm, it is {_rows(affine)}")
    return image, VolumeHeader(single, affine, _volumes(image, shape))


def _volumes(image: Any, shape: Sequence[int]) -> str | None:
    """What the volumes of a file are where they may be no channels, as the end of a sentence, else None.

    The fourth axis of NIfTI is time, and many use it for channels: a step in time that is stated, which 0 and the 1 of
    ITK's writer are not, and many volumes speak for time. A fifth axis is never time.
    """
    count = shape[DIMENSIONS] if len(shape) > DIMENSIONS else 1
    if count == 1:
        return None
    step, unit = float(image.header["pixdim"][4]), image.header.get_xyzt_units()[1]
    if unit in TIME_UNITS and step not in (0.0, 1.0):
        return f"a time series of {count} volumes, {step:g} {unit} apart by its header"
    return f"a series of {count} volumes, which its header does not call channels" if count > MOST_CHANNELS else None


def _check_single(path: Path, header: VolumeHeader) -> None:
    """Raise BadData where a file holds several volumes."""
    if len(header.shape) > DIMENSIONS:
        raise BadData(
            f"{path} must hold one 3D volume, its shape is {header.shape}: store one volume of the series in a file of "
            "its own"
        )


def _check_packed(path: Path) -> None:
    """Raise BadData for a NIfTI file that is packed and not called so, or the other way round."""
    with reading(path, WHOLE), path.open("rb") as stream:
        start = stream.read(len(NIFTI_SIZES[0]))
    packed, called = start.startswith(GZIP), path.suffix.lower() == ".gz"
    if called and start in NIFTI_SIZES:
        raise BadData(f"{path} must be packed by gzip as its name says, it is plain NIfTI: call it {path.stem}")
    if packed and not called:
        raise BadData(f"{path} must be plain NIfTI as its name says, it is packed by gzip: call it {path.name}.gz")


def _check_held(path: Path, image: Any) -> None:
    """Raise ValueError where a packed file holds fewer bytes than its header says: room for all would be made first."""
    wanted = int(image.dataobj.offset) + math.prod(image.shape) * image.header.get_data_dtype().itemsize
    if path.suffix != ".gz" or wanted < MOST_BYTES_UNSEEN:
        return
    held = 0
    with gzip.open(path) as stream:
        while held < wanted and (piece := stream.read(PIECE_BYTES)):
            held += len(piece)
    if held < wanted:
        raise ValueError(f"it must hold {wanted} bytes by its header, it holds {held}")


def _affine(image: Any) -> np.ndarray:
    if int(image.header["sform_code"]) or int(image.header["qform_code"]):
        return np.asarray(image.affine, np.float64)
    # nibabel would mirror the first axis here, a convention of the format before NIfTI.
    sizes = [*np.abs(np.asarray(image.header["pixdim"][1:4], np.float64)), 1.0]
    return np.diag(sizes)


def _available_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _volume(directions: np.ndarray) -> float:
    return abs(float(np.linalg.det(directions)))


def _gigabytes(size: float) -> str:
    return f"{size / 1e9:.3g} GB"


def _rows(affine: np.ndarray) -> str:
    return str([[round(float(item), 4) for item in row] for row in affine[:3]])

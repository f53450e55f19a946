"""Images and label maps in whatever file: pictures, NIfTI, npy, members of npz. Each problem names its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoopt.errors import BadData
from autoopt.workloads.folder import decoded, picture_size, read_rgb
from autoopt.workloads.volumes import header_problems, read_volume

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
VOLUMES = (".nii", ".nii.gz")
ARRAYS = (".npy",)
SUFFIXES = (*PICTURES, *VOLUMES, *ARRAYS)


@dataclass(frozen=True)
class Source:
    """Where an array lies: a file, for npz its `key`, and where many cases are in one array the `index`."""

    path: Path
    key: str | None = None
    index: int | None = None


def suffix_of(path: Path) -> str:
    """The ending that tells the format; .nii.gz is one."""
    name = path.name.lower()
    return next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(suffix)), path.suffix)


def stem_of(path: Path) -> str:
    """The name without that ending."""
    suffix = suffix_of(path)
    return path.name[: -len(suffix)] if suffix else path.name


def problems_of(path: Path) -> list[str]:
    """What the header alone tells to be wrong with a file, in sentences that name it."""
    suffix = suffix_of(path)
    if suffix in PICTURES:
        size = picture_size(path)
        return [size] if isinstance(size, str) else []
    if suffix in VOLUMES:
        return header_problems(path)
    try:
        _mapped(path)
    except BadData as error:
        return [error.message]
    return []


def read_image(source: Source) -> tuple[np.ndarray, np.ndarray | None]:
    """The image, (*spatial, channels) or (*spatial), real numbers, and its affine if the file has one.

    Pictures are uint8 with three channels, or one where the file is grey (16 bits stay 16). Raises BadData.
    """
    suffix = suffix_of(source.path)
    if source.key is None and suffix in PICTURES:
        return _picture(source.path), None
    if source.key is None and suffix in VOLUMES:
        return read_volume(source.path)
    values = read_array(source)
    if values.dtype.kind not in "buif":
        raise BadData(f"{_name(source)} must hold real numbers, it holds {values.dtype}")
    if values.size == 0:
        raise BadData(f"{_name(source)} must not be empty, its shape is {values.shape}")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int(np.count_nonzero(~np.isfinite(values)))
        raise BadData(f"{_name(source)} must hold finite numbers, {bad} of its {values.size} are NaN or infinite")
    return values, None


def read_labels(source: Source) -> tuple[np.ndarray, np.ndarray | None]:
    """A label map of integers, and its affine if the file has one. Raises BadData.

    Of a palette picture the index, of a grey or coloured one the grey value; 0 and 255 alone mean 0 and 1.
    """
    suffix = suffix_of(source.path)
    affine = None
    if source.key is None and suffix in PICTURES:
        values = _index_picture(source.path)
    elif source.key is None and suffix in VOLUMES:
        values, affine = read_volume(source.path)
    else:
        values = read_array(source)
    if values.dtype.kind == "f" and values.size and np.array_equal(values, np.rint(values)):
        values = values.astype(np.int64)
    if values.dtype.kind not in "bui":
        raise BadData(f"{_name(source)} must hold whole numbers, the labels; it holds {values.dtype}")
    if values.size == 0:
        raise BadData(f"{_name(source)} must not be empty, its shape is {values.shape}")
    values = values.astype(np.int64)
    if values.max() == 255 and set(np.unique(values).tolist()) <= {0, 255}:
        values = values // 255
    if values.min() < 0 or values.max() > 255:
        raise BadData(f"{_name(source)} must hold labels from 0 to 255, it holds {values.min()} to {values.max()}")
    return values.astype(np.uint8), affine


def read_array(source: Source) -> np.ndarray:
    """The array of an npy file or of a member of an npz file, never unpickled. Raises BadData."""
    if source.key is None:
        values = _mapped(source.path)
    else:
        members = read_members(source.path, (source.key,))
        values = members[source.key]
    return np.array(values if source.index is None else values[source.index])


def read_members(path: Path, keys: tuple[str, ...] | None = None) -> dict[str, np.ndarray]:
    """Members of an npz file, all of them by default. Raises BadData naming the file and what is missing."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [key for key in keys or () if key not in archive]
            if not missing:
                return {key: archive[key] for key in (keys or archive.files)}
            there = ", ".join(archive.files) or "none"
    except Exception as error:  # zip, zlib and numpy raise many kinds for broken files: name the file
        raise BadData(f"{path} must be a whole npz file without objects: {error}") from error
    raise BadData(f"{path} must hold the array(s) {', '.join(missing)}, it holds {there}")


def _mapped(path: Path) -> np.ndarray:
    try:
        values: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy raises many kinds for broken files: name the file
        raise BadData(f"{path} must be a whole npy file without objects: {error}") from error
    return values


def _picture(path: Path) -> np.ndarray:
    image = decoded(path)
    if image.mode.startswith("I") or image.mode == "F":  # 16 bits of grey keep their range
        grey: np.ndarray = np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
        return grey[..., np.newaxis]
    if image.mode in ("1", "L"):
        return np.array(image.convert("L"))[..., np.newaxis]
    return read_rgb(path)


def _index_picture(path: Path) -> np.ndarray:
    image = decoded(path)
    if image.mode == "P" or image.mode.startswith("I"):
        return np.array(image)
    return np.array(image.convert("L"))


def _name(source: Source) -> str:
    member = "" if source.key is None else f" ({source.key})"
    return f"{source.path}{member}" if source.index is None else f"{source.path}{member} case {source.index}"

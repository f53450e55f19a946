"""One image in a file: what its header says, and functions that read its values when they are needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoopt.errors import BadData

REAL = "buif"
"""Kinds of dtypes that hold real numbers."""


@dataclass(frozen=True)
class Source:
    """Where an image lies: a file, in an archive the `key` of an array, of many cases in one array the `index`.

    In a folder of several series `key` says which one. `grid` is the image of a label map that does not say its size.
    """

    path: Path
    key: str | None = None
    index: int | None = None
    grid: Source | None = None

    def __str__(self) -> str:
        member = "" if self.key is None else f" ({self.key})"
        return f"{self.path}{member}" if self.index is None else f"{self.path}{member} case {self.index}"


@dataclass(frozen=True)
class ImageFile:
    """One image, its header read and its values not yet: what a reader of `readers.READERS` returns.

    `shape`: the spatial sizes where `channels` is known; where it is None, the last axis may be channels. `read` gives
    finite real numbers, shaped as `shape` or with a last axis of channels. `read_labels` gives the whole numbers of the
    file as a label map, by default what `read` gives. `affine`: (4, 4), voxel index to RAS+ millimetres, or None.
    `value_range` is what pixels are divided by unless something else is said: 255 for 8 bits, 65535 for 16, else 1.
    `is_picture` says that channels are colours: a grey picture among coloured ones gets three equal channels.
    `volumes` says, as the end of a sentence, that the last axis holds no channels by itself, such as "a time series of
    30 volumes"; None where it does.
    `label_names`: what the values of a label map mean, where the file says it.
    """

    shape: tuple[int, ...]
    channels: int | None
    read: Callable[[], np.ndarray]
    read_labels: Callable[[], np.ndarray] | None = None
    affine: np.ndarray | None = None
    value_range: float = 1.0
    is_picture: bool = False
    volumes: str | None = None
    label_names: Mapping[int, str] | None = None

    @classmethod
    def of(cls, values: np.ndarray, affine: np.ndarray | None = None, *, channels: int | None = None) -> ImageFile:
        """An image whose values are in memory already, for readers that cannot read a header alone.

        With `channels` the last axis of `values` has that many; without, it may be spatial.
        """
        values = np.asarray(values)
        spatial = values.shape if channels is None else values.shape[:-1]
        return cls(spatial, channels, lambda: values, affine=affine, value_range=value_range(values.dtype))

    def labels(self) -> np.ndarray:
        """The whole numbers of the file, as a label map needs them. Raises BadData."""
        return self.read() if self.read_labels is None else self.read_labels()


def value_range(dtype: np.dtype) -> float:
    """What values of this dtype are divided by unless something else is said: the largest of 8 or 16 bits, else 1."""
    return {"uint8": 255.0, "uint16": 65535.0}.get(dtype.name, 1.0)


def shape_problem(shape: tuple[int, ...], channels: int | None) -> str | None:
    """Why an image cannot have this shape (see `ImageFile`), as the end of a sentence, or None."""
    if 0 in shape:
        return f"must not be empty, its shape is {shape}"
    if not 1 <= len(shape) <= (4 if channels is None else 3):
        return f"must be 1D, 2D or 3D, with channels at the end, its shape is {shape}"
    return None


def value_problem(values: np.ndarray) -> str | None:
    """Why an image cannot have these values, as the end of a sentence, or None: not real, or not finite."""
    if values.dtype.kind not in REAL:
        return f"must hold real numbers, it holds {values.dtype}"
    bad = 0 if values.dtype.kind != "f" else int(np.count_nonzero(~np.isfinite(values)))
    return f"must hold finite numbers, {bad} of its {values.size} values are NaN or infinite" if bad else None


@contextmanager
def reading(path: Path, wanted: str) -> Iterator[None]:
    """Turn whatever a library raises for a broken file into BadData: "PATH must be WANTED: the reason"."""
    try:
        yield
    except (BadData, MemoryError):
        raise
    except Exception as error:  # libraries raise many kinds for broken files: name the file
        reason = str(error).replace(str(path), path.name) or type(error).__name__
        raise BadData(f"{path} must be {wanted}: {reason}") from error

"""Which function reads a file, by the ending of its name. The only place that looks at the endings of image files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from autoopt.core.packages import lacking
from autoopt.core.tables import Table
from autoopt.errors import BadData
from autoopt.workloads.data.image_file import ImageFile, Source, shape_problem, value_problem

READERS = Table(
    "reader of files",
    {
        ".png": "autoopt.workloads.data.pictures:open_picture",
        ".jpg": "autoopt.workloads.data.pictures:open_picture",
        ".jpeg": "autoopt.workloads.data.pictures:open_picture",
        ".bmp": "autoopt.workloads.data.pictures:open_picture",
        ".tif": "autoopt.workloads.data.pictures:open_picture",
        ".tiff": "autoopt.workloads.data.pictures:open_picture",
        ".ome.tif": "autoopt.workloads.data.pictures:open_picture",
        ".ome.tiff": "autoopt.workloads.data.pictures:open_picture",
        ".webp": "autoopt.workloads.data.pictures:open_picture",
        ".nii.gz": "autoopt.workloads.data.volumes:open_volume",
        ".nii": "autoopt.workloads.data.volumes:open_volume",
        ".npy": "autoopt.workloads.data.arrays:open_npy",
        ".npz": "autoopt.workloads.data.arrays:open_npz",
    },
)
"""The ending of a file's name, such as ".nii.gz", to a function `open(path: Path) -> ImageFile`. It reads the header,
leaves the values for later (or returns `ImageFile.of(values, affine)`), and raises BadData naming the file. Readers of
archives take `key` and `index` too (see `Source`). To add a format: one such function and one line here, or from
another program `READERS[".abc"] = "module:function"`. The line `FOLDER` is for folders that are one image each, such as
a series of slices."""
FOLDER = "/"
NAN_OPTION = "; a search with --option nan=0 reads them as 0"

Opener = Callable[[Source], ImageFile]


def suffix_of(path: Path) -> str:
    """The longest ending in the table that the name has, whatever its case; "" for a file without a reader."""
    name = path.name.lower()
    found = max((suffix for suffix in READERS if name.endswith(suffix.lower())), key=len, default="")
    return FOLDER if not found and FOLDER in READERS and path.is_dir() else found


def name_of(path: Path) -> str:
    """The name of a file without the ending that tells its format."""
    suffix = suffix_of(path)
    return path.name if suffix == FOLDER else path.name[: len(path.name) - len(suffix)]


def suffixes_read_by(reader: Callable[..., ImageFile]) -> tuple[str, ...]:
    """The endings of the files that this function reads."""
    return tuple(suffix for suffix, line in READERS.items() if line == f"{reader.__module__}:{reader.__qualname__}")


def images_in(folder: Path) -> list[Path]:
    """The files in a folder that have a reader, sorted by name; hidden ones (of a file manager) are left out."""
    return [path for path in sorted(folder.iterdir()) if suffix_of(path) and not path.name.startswith(".")]


def open_image(source: Source, *, nan: float | None = None) -> ImageFile:
    """The image at `source`, its header read; its shape is checked now, its values when they are read.

    With `nan`, values that are NaN or infinite are this number; labels never are. Raises BadData naming the file, and
    for an unknown ending what is known; NeedsPackage for a reader's package.
    """
    suffix = suffix_of(source.path)
    if not suffix:
        raise BadData(f"{source.path} must have one of the endings {', '.join(READERS)}")
    if not source.path.is_dir() and source.path.exists() and not source.path.is_file():
        raise BadData(f"{source.path} must be a file, it is a pipe or a device")
    reader = READERS.load(suffix)
    places = {"key": source.key, "index": source.index}
    try:
        found: ImageFile = reader(source.path, **{name: value for name, value in places.items() if value is not None})
    except (BadData, MemoryError):
        raise
    except Exception as error:  # a reader of somebody else may raise anything: name the file
        if (needed := lacking(error)) is not None:
            raise needed from error
        raise BadData(f"{source} cannot be read: {type(error).__name__}: {error}") from error
    if (problem := shape_problem(found.shape, found.channels)) is not None:
        raise BadData(f"{source} {problem}")

    def checked(values: np.ndarray) -> np.ndarray:
        if (problem := value_problem(values)) is not None:
            more = NAN_OPTION if nan is None and values.dtype.kind == "f" else ""
            raise BadData(f"{source} {problem}{more}")
        return values

    def read() -> np.ndarray:
        values = found.read()
        if nan is not None and values.dtype.kind == "f":
            values = np.where(np.isfinite(values), values, values.dtype.type(nan))
        return checked(values)

    return replace(found, read=read, read_labels=found.read_labels or (lambda: checked(found.read())))

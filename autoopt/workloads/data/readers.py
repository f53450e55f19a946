"""Which function reads a file, by the ending of its name. The only place that looks at the endings of image files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from autoopt.core.packages import lacking
from autoopt.core.tables import Table
from autoopt.errors import BadData, NeedsPackage
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
        ".nrrd": "autoopt.workloads.data.nrrd:open_nrrd",
        ".nhdr": "autoopt.workloads.data.nrrd:open_nrrd",
        ".seg.nrrd": "autoopt.workloads.data.nrrd:open_nrrd",
        ".mha": "autoopt.workloads.data.metaimage:open_metaimage",
        ".mhd": "autoopt.workloads.data.metaimage:open_metaimage",
        ".dcm": "autoopt.workloads.data.dicom:open_dicom",
        "dicom/": "autoopt.workloads.data.dicom:open_dicom",
        ".npy": "autoopt.workloads.data.arrays:open_npy",
        ".npz": "autoopt.workloads.data.arrays:open_npz",
    },
)
"""The ending of a file's name, such as ".nii.gz", to a function `open(path: Path) -> ImageFile`. It reads the header,
leaves the values for later (or returns `ImageFile.of(values, affine)`), and raises BadData naming the file. Readers of
archives take `key` and `index` too, others `grid` (see `Source`). To add a format: one such function and one line here,
or from another program `READERS[".abc"] = "module:function"`. A name that ends with "/" is for folders that are one
image each, such as a series of slices: those that `takes(folder, below=True)` in the module of the reader takes, where
`below` says that the files may lie further down. `FOLDER` is for all other folders. The module of a reader may have
`data_file(path)`, the file beside a header, and `patient_of(source)`, what an image says of its patient."""
FOLDER = "/"
NAN_OPTION = "; a search with --option nan=0 reads them as 0"
DICOM = "dicom/"
"""The line of folders of DICOM files."""

Opener = Callable[[Source], ImageFile]


def suffix_of(path: Path, *, below: bool = True) -> str:
    """The longest ending in the table that the name has, whatever its case; "" for a file without a reader.

    A folder has the name of its line, if it is an image; `below`: also if its files lie in folders in it.
    """
    name = path.name.lower()
    found = max((suffix for suffix in READERS if name.endswith(suffix.lower())), key=len, default="")
    folders = [suffix for suffix in READERS if suffix.endswith(FOLDER)]
    if found or not folders or not path.is_dir():
        return found
    return next((line for line in folders if line == FOLDER or _module_of(line).takes(path, below=below)), "")


def name_of(path: Path) -> str:
    """The name of a file without the ending that tells its format."""
    suffix = suffix_of(path)
    return path.name if suffix.endswith(FOLDER) else path.name[: len(path.name) - len(suffix)]


def suffixes_read_by(reader: Callable[..., ImageFile]) -> tuple[str, ...]:
    """The endings of the files that this function reads."""
    return tuple(suffix for suffix, line in READERS.items() if line == f"{reader.__module__}:{reader.__qualname__}")


def known_kinds() -> str:
    """The endings that are read, and which folders, for messages."""
    endings = ", ".join(suffix for suffix in READERS if not suffix.endswith(FOLDER))
    return f"{endings}, or be a folder of DICOM files" if DICOM in READERS else endings


def images_in(folder: Path, *, below: bool = False) -> list[Path]:
    """The files in a folder that have a reader, sorted by name; hidden ones (of a file manager) are left out.

    Folders that are images are among them, with `below` those too whose files lie further down.
    """
    return [path for path in sorted(folder.iterdir()) if suffix_of(path, below=below) and not path.name.startswith(".")]


def files_of(path: Path) -> list[Path]:
    """All files of an image: the file, what its header names beside it, or everything in its folder. Raises BadData."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if file.is_file())
    suffix = suffix_of(path)
    beside = getattr(_module_of(suffix), "data_file", None) if suffix else None
    other = None if beside is None else beside(path)
    return [path] if other is None else [path, other]


def patient_of(source: Source) -> str | None:
    """What stands for the patient of an image, None where its file does not say, or cannot be read."""
    suffix = suffix_of(source.path)
    told = getattr(_module_of(suffix), "patient_of", None) if suffix else None
    try:
        found: str | None = None if told is None else told(source)
    except BadData:  # whoever opens the image says what is wrong with it
        return None
    return found


def of_series(source: Source, series: str | None) -> Source:
    """The source with the series that is meant, where it is a folder of DICOM files."""
    return source if series is None or suffix_of(source.path) != DICOM else replace(source, key=series)


def on_grid(label: Source, image: Source) -> Source:
    """The label map with its image, where its format does not say the size of the grid."""
    return label if suffix_of(label.path) not in suffixes_of_line(DICOM) else replace(label, grid=image)


def suffixes_of_line(suffix: str) -> tuple[str, ...]:
    """The endings that the reader of this line reads."""
    return tuple(other for other, line in READERS.items() if line == READERS[suffix])


def _module_of(suffix: str) -> ModuleType:
    return import_module(READERS[suffix].partition(":")[0])


def open_image(source: Source, *, nan: float | None = None) -> ImageFile:
    """The image at `source`, its header read; its shape is checked now, its values when they are read.

    With `nan`, values that are NaN or infinite are this number; labels never are. Raises BadData naming the file, and
    for an unknown ending what is known; NeedsPackage for a reader's package.
    """
    suffix = suffix_of(source.path)
    if not suffix:
        raise BadData(f"{source.path} must have one of the endings {known_kinds()}")
    if not source.path.is_dir() and source.path.exists() and not source.path.is_file():
        raise BadData(f"{source.path} must be a file, it is a pipe or a device")
    reader = READERS.load(suffix)
    places = {"key": source.key, "index": source.index, "grid": source.grid}
    try:
        found: ImageFile = reader(source.path, **{name: value for name, value in places.items() if value is not None})
    except (BadData, NeedsPackage, MemoryError):
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

"""A data folder of images with masks: images/NAME.png, masks/NAME.png and, if given, manifest.csv.

manifest.csv has the columns `name` (without .png), `case` (the patient, never split) and `split` (train, val,
test or calibration); further columns become tags. It lists every image. Without it, every file is its own
group and the files are split 70 / 15 / 15 into train, val and test in a fixed random order of their names.
`table.py` says where a missing calibration split comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from autoopt.errors import BadData, DataError
from autoopt.workloads.contract import SPLITS, Case, Sample, SplitName, Splits
from autoopt.workloads.data.table import (
    FRACTIONS,
    MANIFEST,
    Row,
    assign_splits,
    build_splits,
    data_digest,
    finish_rows,
    raise_problems,
    read_table,
)

if TYPE_CHECKING:
    from PIL import Image

IMAGES, MASKS = "images", "masks"
COLUMNS = ("name", "case", "split")

EXIF_ORIENTATION = 0x0112
EXIF_TRANSPOSED = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""

ReadSample = Callable[[Path, Path], Sample]
"""The sample of one image file and one mask file."""


@dataclass(frozen=True)
class FolderData:
    """The cases of a data folder in four splits, and what identifies them."""

    splits: Splits
    digest: str


def load_folder(folder: Path, read: ReadSample) -> FolderData:
    """The cases of `folder`, each read by `read(image, mask)` when asked for.

    Looks at all names and headers, decodes no pixels. Raises DataError with everything that is wrong.
    """
    names, problems = _names(folder)
    rows: list[Row] = []
    if (folder / MANIFEST).is_file():
        rows, more = _manifest(folder / MANIFEST, names)
        problems += more
    elif len(names) >= len(FRACTIONS) + 1:
        splits = assign_splits([(name, name) for name in names])
        rows = [Row(name, name, splits[name], {}) for name in names]
    elif not problems:
        problems.append(f"{folder} must hold at least {len(FRACTIONS) + 1} images to be split, it holds {len(names)}")
    for name in names:
        problems += _pair_problems(folder, name)
    raise_problems(problems)
    rows = finish_rows(folder, rows)

    def files(row: Row) -> tuple[Path, Path]:
        return folder / IMAGES / f"{row.name}.png", folder / MASKS / f"{row.name}.png"

    def case(row: Row) -> Case:
        return Case(row.name, row.group, lambda: read(*files(row)), row.tags)

    return FolderData(build_splits(rows, case), data_digest(folder, rows, files))


def read_rgb(path: Path) -> np.ndarray:
    """The image as uint8 (height, width, 3), upright by its EXIF tag, whatever its mode.

    Transparent pixels are laid on white, 16-bit grey is scaled to 8 bits. Raises BadData naming the file.
    """
    image = decoded(path)
    if image.mode.startswith("I") or image.mode == "F":
        grey = _eight_bits(np.asarray(image))
        return np.repeat(grey[..., np.newaxis], 3, axis=2)
    if image.has_transparency_data:
        from PIL import Image

        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def read_grey(path: Path) -> np.ndarray:
    """The image as uint8 (height, width): its luminance. Raises BadData naming the file."""
    image = decoded(path)
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(np.asarray(image))
    return np.array(image.convert("L"))


def decoded(path: Path) -> Image.Image:
    """The picture of a file, upright by its EXIF tag. Raises BadData naming the file."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image)
    except Exception as error:  # Pillow's readers raise many kinds for broken files: name the file
        raise BadData(f"{path} must be an image that can be read: {_reason(error, path)}") from error


def _eight_bits(values: np.ndarray) -> np.ndarray:
    scaled = values.astype(np.float64) / 257 if values.max(initial=0) > 255 else values
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _names(folder: Path) -> tuple[list[str], list[str]]:
    """The names that have both an image and a mask, and what is wrong with the others."""
    if not folder.is_dir():
        raise DataError(f"the data folder must be a folder, {folder} is {'a file' if folder.exists() else 'not there'}")
    absent = [
        f"{folder / part} must be a folder of PNG files, it is not there"
        for part in (IMAGES, MASKS)
        if not (folder / part).is_dir()
    ]
    if absent:
        raise DataError(*absent)
    images, masks = ({path.stem for path in (folder / part).glob("*.png")} for part in (IMAGES, MASKS))
    if not images and not masks:
        raise DataError(f"{folder / IMAGES} must hold PNG files, it holds none")
    problems = [f"{folder / MASKS / name}.png has no image {IMAGES}/{name}.png" for name in sorted(masks - images)]
    problems += [f"{folder / IMAGES / name}.png has no mask {MASKS}/{name}.png" for name in sorted(images - masks)]
    return sorted(images & masks), problems


def _manifest(path: Path, names: Sequence[str]) -> tuple[list[Row], list[str]]:
    lines, problems = read_table(path, COLUMNS)
    if problems:
        return [], problems
    rows, seen, known = [], set[str](), set(names)
    for number, line in enumerate(lines, start=2):
        faults = _line_faults(line, seen, path.parent)
        problems += [f"{path} line {number}: {fault}" for fault in faults]
        seen.add(line["name"])
        if not faults and line["name"] in known:
            tags = {key: value for key, value in line.items() if key not in COLUMNS}
            rows.append(Row(line["name"], line["case"], cast(SplitName, line["split"]), tags))
    problems += [f"{path} must list every image, {name} is missing" for name in names if name not in seen]
    return rows, problems


def _line_faults(line: Mapping[str, str], seen: set[str], folder: Path) -> list[str]:
    name, case, split = (line[column] for column in COLUMNS)
    faults = []
    if not name or "/" in name or "\\" in name or name in (".", ".."):
        faults.append(f"name must be a plain file name without .png, got {name!r}")
    elif name in seen:
        faults.append(f"name {name!r} is there twice")
    elif not (folder / IMAGES / f"{name}.png").is_file() and not (folder / MASKS / f"{name}.png").is_file():
        faults.append(f"there is no {IMAGES}/{name}.png")
    if not case:
        faults.append("case must not be empty")
    if split not in SPLITS:
        faults.append(f"split must be train, val, test or calibration, got {split!r}")
    return faults


def _pair_problems(folder: Path, name: str) -> list[str]:
    problems, sizes = [], []
    for part in (IMAGES, MASKS):
        path = folder / part / f"{name}.png"
        try:
            sizes.append(_checked_size(path))
        except Exception as error:  # Pillow's readers raise many kinds for broken files: name the file
            problems.append(f"{path} must be a PNG file that can be read: {_reason(error, path)}")
    if len(sizes) == 2 and sizes[0] != sizes[1]:
        (width, height), (mask_width, mask_height) = sizes
        problems.append(
            f"{folder / MASKS / name}.png must be as large as its image, {width}x{height}, "
            f"it is {mask_width}x{mask_height}"
        )
    return problems


def picture_size(path: Path) -> tuple[int, int] | str:
    """Width and height as shown, or what is wrong with the file, as a sentence; decodes no pixels."""
    try:
        return _checked_size(path)
    except Exception as error:  # Pillow's readers raise many kinds for broken files: name the file
        return f"{path} must be a picture that can be read: {_reason(error, path)}"


def _checked_size(path: Path) -> tuple[int, int]:
    """Width and height as shown; every chunk of the file is there with the right checksum."""
    from PIL import Image

    with Image.open(path) as image:
        width, height = image.size
        has_exif = "exif" in image.info
        image.verify()
    if not has_exif:
        return width, height
    # Only for the few: asking for the tag decodes the pixels, and a verified image is closed.
    with Image.open(path) as image:
        turned = image.getexif().get(EXIF_ORIENTATION) in EXIF_TRANSPOSED
    return (height, width) if turned else (width, height)


def _reason(error: Exception, path: Path) -> str:
    return (
        "it is no image, or a broken one"
        if "cannot identify" in str(error)
        else str(error).replace(str(path), path.name)
    )

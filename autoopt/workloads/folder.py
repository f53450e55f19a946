"""A data folder of images with masks: images/NAME.png, masks/NAME.png and, if given, manifest.csv.

manifest.csv has the columns `name` (without .png), `case` (the patient, never split) and `split` (train, val,
test or calibration); further columns become tags. It lists every image. Without it, every file is its own
group and the files are split 70 / 15 / 15 into train, val and test in a fixed random order of their names.
Without `calibration` in the manifest, whole groups of train become the calibration split: in a fixed random
order until `CALIBRATION_CASES` or a quarter of train is reached. In demo.json a generator may state the
digest of its data, because PNG files of the same pixels differ between versions of zlib.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from autoopt.errors import BadData, DataError
from autoopt.records import digest
from autoopt.store import file_digest
from autoopt.workload import SPLITS, Case, Sample, SplitName, Splits, split_by_group

if TYPE_CHECKING:
    from PIL import Image

IMAGES, MASKS, MANIFEST, DEMO = "images", "masks", "manifest.csv", "demo.json"
COLUMNS = ("name", "case", "split")
FRACTIONS: dict[SplitName, float] = {"train": 0.70, "val": 0.15, "test": 0.15}
CALIBRATION_CASES = 64
CALIBRATION_SHARE = 0.25
MOST_PROBLEMS = 20

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


@dataclass(frozen=True)
class _Row:
    name: str
    group: str
    split: SplitName
    tags: Mapping[str, str]


def load_folder(folder: Path, read: ReadSample) -> FolderData:
    """The cases of `folder`, each read by `read(image, mask)` when asked for.

    Looks at all names and headers, decodes no pixels. Raises DataError with everything that is wrong.
    """
    names, problems = _names(folder)
    rows: list[_Row] = []
    if (folder / MANIFEST).is_file():
        rows, more = _manifest(folder / MANIFEST, names)
        problems += more
    elif len(names) >= len(FRACTIONS) + 1:
        splits = split_by_group([(name, name) for name in names], FRACTIONS)
        rows = [_Row(name, name, splits[name], {}) for name in names]
    elif not problems:
        problems.append(f"{folder} must hold at least {len(FRACTIONS) + 1} images to be split, it holds {len(names)}")
    for name in names:
        problems += _pair_problems(folder, name)
    if not problems:
        rows = _with_calibration(rows)
        problems += _split_problems(folder, rows)
    if problems:
        more_left = len(problems) - MOST_PROBLEMS
        raise DataError(*problems[:MOST_PROBLEMS], *([f"... and {more_left} more"] if more_left > 0 else []))
    return FolderData(_splits(folder, rows, read), _digest(folder, rows))


def read_rgb(path: Path) -> np.ndarray:
    """The image as uint8 (height, width, 3), upright by its EXIF tag, whatever its mode.

    Transparent pixels are laid on white, 16-bit grey is scaled to 8 bits. Raises BadData naming the file.
    """
    image = _decoded(path)
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
    image = _decoded(path)
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(np.asarray(image))
    return np.array(image.convert("L"))


def _decoded(path: Path) -> Image.Image:
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


def _manifest(path: Path, names: Sequence[str]) -> tuple[list[_Row], list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            header = reader.fieldnames or []
            lines = list(reader)
    except (UnicodeDecodeError, csv.Error) as error:
        return [], [f"{path} must be CSV text in UTF-8: {error}"]
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        absent, there = ", ".join(missing), ", ".join(header) or "none"
        return [], [f"{path} must have the columns {', '.join(COLUMNS)}; {absent} missing, it has {there}"]
    rows, problems, seen, known = [], [], set[str](), set(names)
    for number, line in enumerate(lines, start=2):
        faults = _line_faults(line, seen, path.parent)
        problems += [f"{path} line {number}: {fault}" for fault in faults]
        seen.add(line["name"] or "")
        if not faults and line["name"] in known:
            tags = {key: value or "" for key, value in line.items() if key and key not in COLUMNS}
            rows.append(_Row(line["name"], line["case"], cast(SplitName, line["split"]), tags))
    problems += [f"{path} must list every image, {name} is missing" for name in names if name not in seen]
    return rows, problems


def _line_faults(line: Mapping[str, Any], seen: set[str], folder: Path) -> list[str]:
    name, case, split = (line[column] or "" for column in COLUMNS)
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


def _with_calibration(rows: Sequence[_Row]) -> list[_Row]:
    if any(row.split == "calibration" for row in rows):
        return list(rows)
    train = [(row.name, row.group) for row in rows if row.split == "train"]
    if len({group for _, group in train}) < 2:
        return list(rows)
    share = min(CALIBRATION_CASES / len(train), CALIBRATION_SHARE)
    chosen = split_by_group(train, {"calibration": share, "train": 1 - share})
    return [_Row(row.name, row.group, chosen.get(row.name, row.split), row.tags) for row in rows]


def _split_problems(folder: Path, rows: Sequence[_Row]) -> list[str]:
    first: dict[str, SplitName] = {}
    problems = [
        f"{folder}: the case {row.group!r} is in {first[row.group]} and, with {row.name}, in {row.split}"
        for row in rows
        if first.setdefault(row.group, row.split) != row.split
    ]
    empty = [split for split in SPLITS if all(row.split != split for row in rows)]
    if empty:
        problems.append(
            f"{folder} must have cases in train (at least two of them), val and test; none are in {', '.join(empty)}"
        )
    return problems


def _splits(folder: Path, rows: Sequence[_Row], read: ReadSample) -> Splits:
    def case(row: _Row) -> Case:
        image, mask = folder / IMAGES / f"{row.name}.png", folder / MASKS / f"{row.name}.png"
        return Case(row.name, row.group, lambda: read(image, mask), row.tags)

    return Splits(*(tuple(case(row) for row in rows if row.split == split) for split in SPLITS))


def _digest(folder: Path, rows: Sequence[_Row]) -> str:
    stated = folder / DEMO
    if stated.is_file():
        try:
            return str(json.loads(stated.read_text())["digest"])
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{stated} must be JSON with the digest of generated data: delete {folder}") from error
    total = hashlib.sha256()
    for row in sorted(rows, key=lambda row: row.name):
        files = [file_digest(folder / part / f"{row.name}.png") for part in (IMAGES, MASKS)]
        total.update(digest([row.name, row.group, row.split, *files]).encode())
    return total.hexdigest()

"""Layouts that are folders of files: images/ with masks/, and a folder for each class."""

from __future__ import annotations

from pathlib import Path

from autoopt.errors import DataError
from autoopt.workloads.contract import Task
from autoopt.workloads.data.layouts.items import (
    MANIFEST,
    SPLIT_NAMES,
    SUFFIXES,
    Columns,
    Found,
    Item,
    Source,
    images_in,
    suffix_of,
)
from autoopt.workloads.data.table import raise_problems, read_table

IMAGES, MASKS = "images", "masks"


def read_pairs(folder: Path, task: Task) -> Found:
    """images/NAME.* with masks/NAME.*. Raises DataError with everything that is wrong with names and manifest."""
    if task != "segmentation":
        raise DataError(f"{folder} has {IMAGES}/ and {MASKS}/, which is a segmentation; a {task} needs classes")
    problems: list[str] = []
    images, masks = (_by_name(folder / part, problems) for part in (IMAGES, MASKS))
    problems += [f"{masks[name]} has no image in {IMAGES}/" for name in sorted(set(masks) - set(images))]
    problems += [f"{images[name]} has no mask in {MASKS}/" for name in sorted(set(images) - set(masks))]
    if not images:
        problems.append(f"{folder / IMAGES} must hold images ({', '.join(SUFFIXES)}), it holds none")
    lines = read_manifest(folder, set(images) | set(masks), problems)
    columns = Columns.of(list(next(iter(lines.values()), {})))
    items = []
    for name in sorted(set(images) & set(masks)):
        line = lines.get(name, {})
        where = f"{folder / MANIFEST}, {name}"
        group, split = columns.read(line, name, where, problems) if line else (name, None)
        tags = {key: value for key, value in line.items() if key not in ("name", columns.split)}
        items.append(Item(name, group, split, (Source(images[name]),), Source(masks[name]), tags))
    raise_problems(problems)
    return Found(items, f"pairs of {IMAGES}/ and {MASKS}/")


def read_classes(folder: Path) -> Found:
    """CLASS/NAME.* or SPLIT/CLASS/NAME.*. Raises DataError for a class folder without images."""
    items = []
    folders, problems = _class_folders(folder), []
    for path in folders:
        inside = path.relative_to(folder).parts
        split = SPLIT_NAMES.get(inside[0].lower()) if len(inside) == 2 else None
        files = images_in(path)
        if not files:
            problems.append(f"{path} must hold the images of a class, it holds none: fill it, or move it elsewhere")
        for file in files:
            name = file.relative_to(folder).as_posix()
            items.append(Item(name, name, split, (Source(file),), path.name))
    raise_problems(problems)
    return Found(items, f"classes from the folders {', '.join(sorted({path.name for path in folders}))}")


def has_pairs(folder: Path) -> bool:
    """Whether the folder has images/ and masks/."""
    return (folder / IMAGES).is_dir() and (folder / MASKS).is_dir()


def has_classes(folder: Path) -> bool:
    """Whether there are at least two folders with images, in the folder or in those of its splits."""
    return sum(bool(images_in(path)) for path in _class_folders(folder)) > 1


def read_manifest(folder: Path, files: set[str], problems: list[str]) -> dict[str, dict[str, str]]:
    """The line of every file by its name, empty without a manifest; what is wrong with it joins `problems`."""
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    table, faults = read_table(path, ("name",))
    lines: dict[str, dict[str, str]] = {}
    for line in table:
        if line["name"] in lines:
            faults.append(f"{path}: {line['name']!r} is there twice")
        lines[line["name"]] = line
    if table:
        faults += [f"{path} must list every file, {name} is missing" for name in sorted(files - set(lines))]
        faults += [f"{path}: there is no file {name!r}" for name in sorted(set(lines) - files)]
    elif not faults:
        faults.append(f"{path} must list every file, it has no lines")
    problems += faults
    return lines


def _by_name(folder: Path, problems: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in images_in(folder):
        name = path.name[: -len(suffix_of(path))]
        if name in found:
            problems.append(f"{folder} must hold one file of each name, it holds {found[name].name} and {path.name}")
        found.setdefault(name, path)
    return found


def _class_folders(folder: Path) -> list[Path]:
    below = _folders_in(folder)
    if below and all(path.name.lower() in SPLIT_NAMES for path in below):
        return [inner for path in below for inner in _folders_in(path)]
    return [path for path in below if not (has_pairs(folder) and path.name in (IMAGES, MASKS))]


def _folders_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] not in "._"]

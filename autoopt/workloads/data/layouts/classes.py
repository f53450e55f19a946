"""A folder for each class: CLASS/NAME.*, or train/CLASS/NAME.*, val/CLASS/NAME.* and test/CLASS/NAME.*."""

from __future__ import annotations

from pathlib import Path

from autoopt.workloads.contract import Task
from autoopt.workloads.data.cases import Found, Item, raise_problems
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.layouts import pairs
from autoopt.workloads.data.layouts.tables import case_table
from autoopt.workloads.data.manifest import SPLIT_NAMES
from autoopt.workloads.data.readers import images_in

DESCRIPTION = "a folder per class"


def fits(folder: Path, task: Task) -> bool:
    """Whether there are at least two folders with images, in the folder or in those of its splits, and no table."""
    if task != "classification" or case_table(folder) is not None:
        return False
    return sum(bool(images_in(path)) for path in _class_folders(folder)) > 1


def read(folder: Path, task: Task) -> Found:
    """The images with the names of their folders as classes. Raises DataError for a class folder without images."""
    items: list[Item] = []
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


def _class_folders(folder: Path) -> list[Path]:
    below = _folders_in(folder)
    if below and all(path.name.lower() in SPLIT_NAMES for path in below):
        return [inner for path in below for inner in _folders_in(path)]
    others = (pairs.IMAGES, pairs.MASKS) if pairs.fits(folder, "segmentation") else ()
    return [path for path in below if path.name not in others]


def _folders_in(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] not in "._"]

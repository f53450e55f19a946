"""A folder for each class: CLASS/NAME.*, or train/CLASS/NAME.*, val/CLASS/NAME.* and test/CLASS/NAME.*.

A table beside them says of which patient and split each image is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoopt.workloads.contract import SplitName, Task
from autoopt.workloads.data.cases import Found, Item, items_of, raise_problems
from autoopt.workloads.data.columns import CLASSES, SPLIT_NAMES, composed, first_of
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.layouts.class_folders import class_folders, holds_classes, images_of, in_splits
from autoopt.workloads.data.layouts.pair_folders import folders_in
from autoopt.workloads.data.layouts.split_folders import with_splits
from autoopt.workloads.data.layouts.tables import case_table
from autoopt.workloads.data.manifest import stray_tables

DESCRIPTION = "a folder per class"


def fits(folder: Path, task: Task) -> bool:
    """Whether there are at least two folders with images, in the folder or in those of its splits, and no table."""
    if task != "classification" or case_table(folder, task) is not None:
        return False
    return holds_classes(folder)


def read(folder: Path, task: Task) -> Found:
    """The images with the names of their folders as classes. Raises DataError for a class folder without images."""
    folders = class_folders(folder)
    problems = stray_tables(folder, {*folders, *(folders_in(folder) if in_splits(folder) else ())})
    files: dict[str, tuple[list[Source], str]] = {}
    splits: dict[str, SplitName | None] = {}
    left_out: list[Path] = []
    for path in folders:
        inside = path.relative_to(folder).parts
        split = SPLIT_NAMES.get(inside[0].lower()) if len(inside) == 2 else None
        images, masks = images_of(path)
        left_out += masks
        if not images:
            problems.append(f"{path} must hold the images of a class, it holds none: fill it, or move it elsewhere")
        for file in images:
            name = composed(file.relative_to(folder).as_posix())
            files[name] = ([Source(file)], composed(path.name))
            splits[name] = split
    remarks: list[str] = []
    items = items_of(folder, files, problems, described=str(folder), remarks=remarks)
    items = with_splits(items, splits, problems)
    problems += _other_classes(items)
    raise_problems(problems)
    if left_out:
        some = left_out[0].relative_to(folder).as_posix()
        remarks.append(
            f"{folder}: {len(left_out)} files are masks of images, by their names, and are not read, such as {some}"
        )
    names = ", ".join(sorted({composed(path.name) for path in folders}))
    return Found(items, f"classes from the folders {names}", from_folders=True, remarks=tuple(remarks))


def _other_classes(items: Sequence[Item]) -> list[str]:
    """A class of the table whose images lie in the folders of two classes, as a sentence: one of the two is wrong."""
    column = first_of(CLASSES, items[0].tags) if items else None
    first: dict[str, Item] = {}
    for item in items if column else ():
        said = item.tags[column or ""]
        before = first.setdefault(said, item)
        if said and before.label != item.label:
            text = (
                f"{item.where}: the class must be one thing, but images that the column {column} calls {said!r} lie in "
                f"the folders {before.label} and {item.label}: call the column something else if the folders are the "
                "classes, else move the images into one folder"
            )
            return [text]
    return []

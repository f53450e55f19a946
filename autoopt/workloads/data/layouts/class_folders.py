"""Which folders of a data folder are those of classes."""

from __future__ import annotations

from pathlib import Path

from autoopt.workloads.data.columns import SPLIT_NAMES
from autoopt.workloads.data.readers import images_in

IMAGES, MASKS = "images", "masks"
"""Folders that are no classes where both are there: images and their label maps."""
NNUNET = ("imagesTr", "labelsTr")
"""The same of nnU-Net."""


def class_folders(folder: Path) -> list[Path]:
    """The folders of classes, sorted: those in the folder, or in its folders of splits where it holds only these."""
    below = folders_in(folder)
    if in_splits(folder):
        return [inner for path in below for inner in folders_in(path)]
    names = {path.name for path in below}
    left_out = {name for both in ((IMAGES, MASKS), NNUNET) if {*both} <= names for name in both}
    return [path for path in below if path.name not in left_out]


def in_splits(folder: Path) -> bool:
    """Whether all folders in the folder are called as splits."""
    below = folders_in(folder)
    return bool(below) and all(path.name.lower() in SPLIT_NAMES for path in below)


def holds_classes(folder: Path) -> bool:
    """Whether at least two folders of classes hold images."""
    return sum(bool(images_in(path)) for path in class_folders(folder)) > 1


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; those that begin with a dot or `_` are left out."""
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] not in "._"]

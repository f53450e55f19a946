"""Which folders of a data folder are those of classes."""

from __future__ import annotations

from pathlib import Path

from autoopt.workloads.data.columns import SPLIT_NAMES
from autoopt.workloads.data.layouts.pair_folders import folders_in, masks_beside, pair_of
from autoopt.workloads.data.readers import images_in

NNUNET = ("imagesTr", "labelsTr")
"""Folders of images and of their label maps, as nnU-Net calls them."""


def class_folders(folder: Path) -> list[Path]:
    """The folders of classes, sorted: those in the folder, or in its folders of splits where it holds only these.

    Folders of images and of their masks, where both are there, are no classes.
    """
    if in_splits(folder):
        return [inner for path in folders_in(folder) for inner in _without_pair(path)]
    return _without_pair(folder)


def in_splits(folder: Path) -> bool:
    """Whether all folders in the folder are called as splits."""
    below = folders_in(folder)
    return bool(below) and all(path.name.lower() in SPLIT_NAMES for path in below)


def holds_classes(folder: Path) -> bool:
    """Whether at least two folders of classes hold images."""
    return sum(bool(images_of(path)[0]) for path in class_folders(folder)) > 1


def images_of(folder: Path) -> tuple[list[Path], list[Path]]:
    """The images of a class, in its folder or in images/ with masks/ beside it; and what are masks of them."""
    found, pair = images_in(folder), pair_of(folder)
    if not found and pair is not None:
        return images_in(pair[0]), images_in(pair[1])
    masks = masks_beside(found)
    return [path for path in found if path not in masks], list(masks)


def _without_pair(folder: Path) -> list[Path]:
    pair, below = pair_of(folder) or (), folders_in(folder)
    left_out = NNUNET if {*NNUNET} <= {path.name for path in below} else ()
    return [path for path in below if path not in pair and path.name not in left_out]

"""Which folders of a data folder hold images, and which their masks; which words tell a mask by its name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoopt.workloads.contract import SplitName
from autoopt.workloads.data.columns import SPLIT_NAMES, composed
from autoopt.workloads.data.readers import images_in, name_of

IMAGES, MASKS = "images", "masks"
IMAGE_FOLDERS = (IMAGES, "image", "imgs", "img")
MASK_FOLDERS = (MASKS, "mask", "labels", "label", "segmentations", "segmentation", "annotations", "groundtruth", "gt")
"""What a folder of images and the folder of their masks beside it are called, the usual name first; in any case."""
MASK_WORDS = (
    *("mask", "masks", "seg", "segm", "segmentation", "label", "labels", "labelled", "labeled", "gt", "groundtruth"),
    *("ground_truth", "annotation", "annotated", "roi", "lesion", "manual"),
)
"""What the name of a mask usually has after that of its image, behind one of `SEPARATORS`."""
SEPARATORS = "_-. "
SEPARATED = re.compile(f"[{re.escape(SEPARATORS)}]")
MASK_NAME = re.compile(
    rf"(?P<stem>.+)[{re.escape(SEPARATORS)}](?:{'|'.join(MASK_WORDS)})(?:[{re.escape(SEPARATORS)}]?[0-9]+)?",
    re.IGNORECASE,
)
DEEPEST = 3
"""So many folders above images/ and masks/ are looked into, such as those of splits and classes."""


@dataclass(frozen=True)
class Part:
    """A folder of images and that of their masks; `split` is what a folder above them is called, if it names one.

    `name` is the path from the data folder to what both lie in, "" for the data folder itself.
    """

    images: Path
    masks: Path
    name: str
    split: SplitName | None


def pair_of(folder: Path) -> tuple[Path, Path] | None:
    """The folder of images and that of masks in a folder, None unless both are there."""
    by_name = {path.name.lower(): path for path in folders_in(folder)}
    images = next((by_name[name] for name in IMAGE_FOLDERS if name in by_name), None)
    masks = next((by_name[name] for name in MASK_FOLDERS if name in by_name), None)
    return None if images is None or masks is None else (images, masks)


def parts_of(folder: Path) -> list[Part]:
    """The folders of images with masks of a data folder: images/ and masks/, DIR/images/ and DIR/masks/, or images/DIR/
    and masks/DIR/, DIR_images/ and DIR_masks/, where DIR may be a split or anything else.
    """
    return _parts(folder, folder, DEEPEST)


def _parts(top: Path, folder: Path, deeper: int) -> list[Part]:
    found, where = pair_of(folder), folder.relative_to(top)
    if found is None:
        named = [_part(images, masks, where / rest) for rest, images, masks in _named_pairs(folder)]
        deep = [part for path in folders_in(folder) for part in _parts(top, path, deeper - 1)] if deeper else []
        return named or deep
    images, masks = found
    inner = {path.name: path for path in folders_in(masks)}
    both = [path for path in folders_in(images) if path.name in inner]
    if both and not images_in(images):
        return [_part(path, inner[path.name], where / path.name) for path in both]
    return [_part(images, masks, where)]


def _named_pairs(folder: Path) -> list[tuple[str, Path, Path]]:
    """The folders such as train_images and train_masks, and the words that both have, such as "train"."""
    by_words = {tuple(SEPARATED.split(path.name.lower())): path for path in folders_in(folder)}
    found = []
    for words, images in by_words.items():
        for place in [place for place, word in enumerate(words) if word in IMAGE_FOLDERS]:
            before, after = words[:place], words[place + 1 :]
            masks = [by_words[name] for word in MASK_FOLDERS if (name := (*before, word, *after)) in by_words]
            if masks:
                found.append(("_".join(before + after), images, masks[0]))
    return found


def _part(images: Path, masks: Path, where: Path) -> Part:
    words = [word for name in where.parts for word in SEPARATED.split(name.lower())]
    split = next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)
    return Part(images, masks, "" if where == Path() else where.as_posix(), split)


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; those that begin with a dot or `_` are left out."""
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and path.name[0] not in "._"]


def without_mask_word(name: str) -> str | None:
    """The name without the word at its end that says that it is a mask, such as NAME_seg or NAME_mask_1; else None."""
    found = MASK_NAME.fullmatch(name)
    return found["stem"] if found else None


def masks_beside(images: Sequence[Path]) -> dict[Path, Path]:
    """By its mask, NAME_mask.*: the image NAME.* that lies beside it, of the files of a folder."""
    by_name = {composed(name_of(path)): path for path in images}
    stems = {path: without_mask_word(name) for name, path in by_name.items()}
    return {path: by_name[stem] for path, stem in stems.items() if stem is not None and stem in by_name}

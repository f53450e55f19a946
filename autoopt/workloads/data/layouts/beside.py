"""Images with their masks beside them: NAME.* and NAME_mask.* in the folder, or in folders below it.

A table beside them says of which patient and split each image is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autoopt.workloads.contract import SplitName, Task
from autoopt.workloads.data.cases import Found, Item, group_of, items_of, raise_problems
from autoopt.workloads.data.columns import SPLIT_NAMES, composed
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.layouts.pair_folders import folders_in, masks_beside, parts_of
from autoopt.workloads.data.layouts.split_folders import with_splits
from autoopt.workloads.data.layouts.tables import case_table
from autoopt.workloads.data.manifest import find_table, stray_tables
from autoopt.workloads.data.readers import images_in, name_of
from autoopt.workloads.data.reading import ARCHIVE

DESCRIPTION = "NAME.* with NAME_mask.* beside it"
DEEPEST = 3
"""So many folders above the images are looked into."""
PATIENT_FOLDERS = 8
"""So many folders of images, or more, are taken for those of patients; fewer may be classes or hospitals."""


def fits(folder: Path, task: Task) -> bool:
    """Whether images have masks beside them, and no folders of images and masks and no table says something else."""
    if task != "segmentation" or parts_of(folder) or case_table(folder, task) is not None:
        return False
    return any(masks_beside(images) for _, images in _folders(folder))


def read(folder: Path, task: Task) -> Found:
    """The images in order of their names. Raises DataError for an image without a mask and for one with several."""
    places = list(_folders(folder))
    problems = stray_tables(folder, {place for place, _ in places} - {folder})
    files: dict[str, tuple[list[Source], Source]] = {}
    splits: dict[str, SplitName | None] = {}
    for place, images in places:
        inside = place.relative_to(folder)
        split = next((SPLIT_NAMES[part.lower()] for part in inside.parts if part.lower() in SPLIT_NAMES), None)
        for image, masks in _pairs(images).items():
            name = composed((inside / name_of(image)).as_posix())
            if len(masks) > 1:
                listed = ", ".join(mask.name for mask in masks)
                problems.append(f"{image} must have one mask, it has {listed}: join them into one label map")
            elif not masks:
                problems.append(f"{image} has no mask beside it, such as {name_of(image)}_mask.*")
            else:
                files[name], splits[name] = ([Source(image)], Source(masks[0])), split
    remarks: list[str] = []
    items = items_of(folder, files, problems, described=f"{folder} without its ending", remarks=remarks)
    items = with_splits(items, splits, problems)
    raise_problems(problems)
    if find_table(folder) is None:
        items, remarks = _by_folder(folder, items, remarks)
    return Found(
        sorted(items, key=lambda item: item.name),
        f"images with masks beside them, in {len(places)} folder(s)",
        remarks=tuple(remarks),
    )


def _folders(folder: Path, deeper: int = DEEPEST) -> Iterator[tuple[Path, list[Path]]]:
    """The folders that hold images, and these; archives of arrays are none."""
    images = [path for path in images_in(folder) if not path.name.lower().endswith(ARCHIVE)]
    if images:
        yield folder, images
    for path in folders_in(folder) if deeper else ():
        yield from _folders(path, deeper - 1)


def _pairs(images: Sequence[Path]) -> Mapping[Path, list[Path]]:
    """By each image of a folder: its masks."""
    image_of = masks_beside(images)
    return {image: [mask for mask, of in image_of.items() if of == image] for image in images if image not in image_of}


def _by_folder(folder: Path, items: Sequence[Item], remarks: Sequence[str]) -> tuple[list[Item], list[str]]:
    """The cases with their folders as patients where these are many and hold several images; and what to say of it."""
    own = {item.name: composed(Path(item.name).parent.as_posix()) for item in items}
    apart = all(item.group == group_of(item.name) == item.name for item in items)
    if not apart or not PATIENT_FOLDERS <= len(set(own.values())) < len(items):
        return list(items), list(remarks)
    said = (
        f"{folder}: each of the {len(set(own.values()))} folders is taken for a patient, whose images stay in one split"
    )
    return [replace(item, group=own[item.name]) for item in items], [said]

"""Images with masks: images/NAME.* and masks/NAME.*, optionally manifest.csv."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from autoopt.errors import DataError
from autoopt.workloads.contract import Task
from autoopt.workloads.data.cases import Found, Item, items_of, raise_problems
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.layouts.tables import names_files_in
from autoopt.workloads.data.readers import READERS, images_in, name_of, suffix_of

IMAGES, MASKS = "images", "masks"
DESCRIPTION = f"{IMAGES}/ and {MASKS}/"


def fits(folder: Path, task: Task) -> bool:
    """Whether there are images/ and masks/, and no table says that their files are something else."""
    both = (folder / IMAGES).is_dir() and (folder / MASKS).is_dir()
    return both and not names_files_in(folder, (IMAGES, MASKS))


def read(folder: Path, task: Task) -> Found:
    """The pairs in order of their names. Raises DataError with everything that is wrong with names and manifest."""
    if task != "segmentation":
        raise DataError(f"{folder} has {IMAGES}/ and {MASKS}/, which is a segmentation; a {task} needs classes")
    problems: list[str] = []
    items = find_pairs(folder, problems)
    raise_problems(problems)
    return Found(sorted(items, key=lambda item: item.name), f"pairs of {IMAGES}/ and {MASKS}/")


def find_pairs(
    folder: Path,
    problems: list[str],
    *,
    suffixes: Collection[str] = (),
    mask_endings: Sequence[str] = ("",),
    group: str | None = None,
) -> list[Item]:
    """The cases of images/NAME.* with masks/NAME.* and what manifest.csv says of them; what is wrong joins `problems`.

    Only files with one of `suffixes` count, all that can be read without any. The name of a mask may have one of
    `mask_endings` after that of its image; `group` is that of `read_manifest`. In the order of the manifest, if there
    is one, else of the names.
    """
    kinds = ", ".join(suffixes or READERS)
    absent = [part for part in (IMAGES, MASKS) if not (folder / part).is_dir()]
    if absent:
        problems += [f"{folder / part} must be a folder of images ({kinds}), it is not there" for part in absent]
        return []
    images, masks = (_by_name(folder / part, suffixes, problems) for part in (IMAGES, MASKS))
    if not images:
        problems.append(f"{folder / IMAGES} must hold images ({kinds}), it holds none")
    mask_of = {name: next((name + end for end in mask_endings if name + end in masks), None) for name in images}
    without_image = sorted(set(masks) - {*filter(None, mask_of.values())})
    without_mask = [name for name, mask in mask_of.items() if mask is None]
    problems += [f"{masks[mask]} has no image in {IMAGES}/" for mask in without_image]
    problems += [f"{images[name]} has no mask {MASKS}/{name}{mask_endings[0]}.*" for name in without_mask]
    files = {name: ([Source(images[name])], Source(masks[mask])) for name, mask in mask_of.items() if mask is not None}
    described = f"{IMAGES}/ without its ending"
    return items_of(folder, files, problems, described=described, group=group, others={*without_mask, *without_image})


def _by_name(folder: Path, suffixes: Collection[str], problems: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in images_in(folder):
        if suffixes and suffix_of(path) not in suffixes:
            continue
        name = name_of(path)
        if name in found:
            problems.append(f"{folder} must hold one file of each name, it holds {found[name].name} and {path.name}")
        found.setdefault(name, path)
    return dict(sorted(found.items()))

"""Images with masks: images/NAME.* and masks/NAME.*, optionally a table such as manifest.csv."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from autoopt.errors import DataError
from autoopt.workloads.contract import SplitName, Task
from autoopt.workloads.data.cases import Found, Item, items_of, raise_problems
from autoopt.workloads.data.columns import composed
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.layouts.pair_folders import (
    IMAGES,
    MASK_WORDS,
    MASKS,
    SEPARATORS,
    Part,
    folders_in,
    pair_of,
    parts_of,
)
from autoopt.workloads.data.layouts.several_files import hint
from autoopt.workloads.data.layouts.split_folders import with_splits
from autoopt.workloads.data.layouts.tables import case_table, names_files_in
from autoopt.workloads.data.manifest import stray_tables
from autoopt.workloads.data.readers import READERS, images_in, name_of, suffix_of

DESCRIPTION = f"{IMAGES}/ and {MASKS}/"
Files = dict[str, tuple[list[Source], Source]]
"""The image and the mask of each case, by its name."""


def fits(folder: Path, task: Task) -> bool:
    """Whether there are images/ and masks/, and no table says that their files are something else.

    For a segmentation they may also lie in folders of splits or others, and have other usual names.
    """
    if task != "segmentation":
        return pair_of(folder) is not None and case_table(folder, task) is None
    places = [path.relative_to(folder).as_posix() for part in parts_of(folder) for path in (part.images, part.masks)]
    return bool(places) and not names_files_in(folder, places, task)


def read(folder: Path, task: Task) -> Found:
    """The pairs in order of their names. Raises DataError with everything that is wrong with names and manifest."""
    if task != "segmentation":
        pair = pair_of(folder) or (folder / IMAGES, folder / MASKS)
        raise DataError(
            f"{folder} has {pair[0].name}/ and {pair[1].name}/, which is a segmentation; a {task} needs classes"
        )
    parts = parts_of(folder)
    problems = stray_tables(folder, {path for part in parts for path in (part.images, part.masks)} - {folder})
    remarks: list[str] = []
    files: Files = {}
    others: set[str] = set()
    splits: dict[str, SplitName | None] = {}
    for part in parts:
        images, masks = (_by_name(path, (), problems) for path in (part.images, part.masks))
        if not images:
            problems.append(f"{part.images} must hold images ({', '.join(READERS)}), it holds none")
        found = _files_of(part, images, masks, ("",), problems, remarks, others)
        files |= found
        splits |= dict.fromkeys(found, part.split)
    names = f"{parts[0].images.name}/ and {parts[0].masks.name}/"
    described = f"{parts[0].images.name}/ without its ending" if len(parts) == 1 else f"{folder} without its ending"
    items = items_of(folder, files, problems, described=described, others=others, remarks=remarks)
    items = with_splits(items, splits, problems)
    if problems and others and (told := hint(folder)):
        problems.insert(0, f"{folder} must have one image for each mask{told}")
    raise_problems(problems)
    where = "" if len(parts) == 1 else f" in {len(parts)} folders"
    remarks += _images_elsewhere(folder, parts)
    return Found(sorted(items, key=lambda item: item.name), f"pairs of {names}{where}", remarks=tuple(remarks))


def find_pairs(
    folder: Path,
    problems: list[str],
    *,
    suffixes: Collection[str] = (),
    mask_endings: Sequence[str] = ("",),
    group: str | None = None,
    remarks: list[str] | None = None,
) -> list[Item]:
    """The cases of images/NAME.* with masks/NAME.* and what the table of the folder says of them.

    What is wrong joins `problems`, what was understood without being asked `remarks`. Only files with one of `suffixes`
    count, all that can be read without any. The name of a mask may have one of `mask_endings` after that of its image,
    else a usual one (`MASK_WORDS`), else what all masks have in common. Accents may be written in either Unicode form.
    `group` is that of `read_manifest`. In the order of the table, if there is one, else of the names.
    """
    kinds = ", ".join(suffixes or READERS)
    absent = [part for part in (IMAGES, MASKS) if not (folder / part).is_dir()]
    if absent:
        problems += [f"{folder / part} must be a folder of images ({kinds}), it is not there" for part in absent]
        return []
    part = Part(folder / IMAGES, folder / MASKS, "", None)
    images, masks = (_by_name(path, suffixes, problems) for path in (part.images, part.masks))
    if not images:
        problems.append(f"{part.images} must hold images ({kinds}), it holds none")
    others: set[str] = set()
    files = _files_of(part, images, masks, mask_endings, problems, remarks, others)
    described = f"{IMAGES}/ without its ending"
    return items_of(folder, files, problems, described=described, group=group, others=others, remarks=remarks)


def _files_of(
    part: Part,
    images: Mapping[str, Path],
    masks: Mapping[str, Path],
    endings: Sequence[str],
    problems: list[str],
    remarks: list[str] | None,
    others: set[str],
) -> Files:
    """The pairs of two folders, of files by their names; what has no partner joins `others` and is a problem."""
    mask_of = _paired(images, masks, endings)
    odd = [name for name, mask in mask_of.items() if mask not in {name + end for end in endings}]
    if remarks is not None and odd:
        one, other = images[odd[0]], masks[mask_of[odd[0]]]
        where = part.images.parent
        remarks.append(f"{where}: {len(odd)} masks are paired by a part of their names, {other.name} with {one.name}")
    without_image = sorted(set(masks) - {*mask_of.values()})
    without_mask = sorted(set(images) - set(mask_of))
    problems += [f"{masks[mask]} has no image in {part.images.name}/" for mask in without_image]
    problems += [f"{images[name]} has no mask {part.masks.name}/{name}{endings[0]}.*" for name in without_mask]
    inside = f"{composed(part.name)}/" if part.name else ""
    others |= {f"{inside}{name}" for name in (*without_mask, *without_image)}
    return {f"{inside}{name}": ([Source(images[name])], Source(masks[mask])) for name, mask in mask_of.items()}


def _images_elsewhere(folder: Path, parts: Sequence[Part]) -> list[str]:
    """The folders of images that have no masks and so are not read, as sentences."""
    read = {path for part in parts for path in (part.images, part.masks)}
    above = {path for part in parts for path in part.images.parents} | {path.parent for path in read}
    inner = {path for place in above if place.is_relative_to(folder) for path in folders_in(place)}
    left = sorted(path for path in inner - read - above if images_in(path) or any(map(images_in, folders_in(path))))
    return [
        f"{path} is not read: it is no folder of images with one of masks beside it, nor of these masks"
        for path in left
    ]


def _paired(images: Iterable[str], masks: Iterable[str], endings: Sequence[str]) -> dict[str, str]:
    """The name of the mask of each image that has one."""
    masks = {*masks}
    found: dict[str, str] = {}
    for name in images:
        mask = next((name + end for end in endings if name + end in masks), None)
        mask = _with_usual_ending(name, masks) if mask is None else mask
        if mask is not None:
            found[name] = mask
    return found or _by_what_differs(sorted(images), sorted(masks))


def _with_usual_ending(name: str, masks: Collection[str]) -> str | None:
    """The one mask that is called as the image with one of the usual words behind it, in any case."""
    possible = [
        mask
        for mask in masks
        if mask.startswith(name) and mask[len(name) :][:1] in SEPARATORS and mask[len(name) + 1 :].lower() in MASK_WORDS
    ]
    return possible[0] if len(possible) == 1 else None


def _by_what_differs(images: Sequence[str], masks: Sequence[str]) -> dict[str, str]:
    """Pairs by what is left of names without what all images, and all masks, have before and after it."""
    inner_images, inner_masks = _inner(images), _inner(masks)
    return (
        {inner_images[key]: inner_masks[key] for key in inner_images} if set(inner_images) == set(inner_masks) else {}
    )


def _inner(names: Sequence[str]) -> dict[str, str]:
    """By the part in which names differ: the name. Common parts end at a separator, so that no number is cut."""
    if len(names) < 2:
        return {}
    before = _common_start(names)
    before = before[: max(before.rfind(mark) for mark in SEPARATORS) + 1]
    after = _common_start([name[len(before) :][::-1] for name in names])[::-1]
    starts = [place for mark in SEPARATORS if (place := after.find(mark)) >= 0]
    after = after[min(starts) :] if starts else ""
    return {name[len(before) : len(name) - len(after)]: name for name in names}


def _common_start(names: Sequence[str]) -> str:
    """The letters with which all names begin."""
    one, other = min(names), max(names)  # whatever these two share, all between them do
    return one[: next((place for place, letter in enumerate(one) if other[place : place + 1] != letter), len(one))]


def _by_name(folder: Path, suffixes: Collection[str], problems: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in images_in(folder):
        if suffixes and suffix_of(path) not in suffixes:
            continue
        name = composed(name_of(path))
        if name in found:
            alike = path.name != found[name].name and composed(path.name) == composed(found[name].name)
            more = ", whose names differ in the Unicode form of their accents alone" if alike else ""
            problems.append(
                f"{folder} must hold one file of each name, it holds {found[name].name} and {path.name}{more}"
            )
        found.setdefault(name, path)
    return dict(sorted(found.items()))

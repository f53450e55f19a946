"""Several files of each case, told apart by how their names end: NAME_t1.*, NAME_flair.* and the mask NAME_seg.*.

They lie side by side, in one folder or one for each case, or in images/ and masks/. Read only where a user says the
endings of the channels, in order: nothing else says which of them a model was trained on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autoopt.errors import DataError
from autoopt.workloads.contract import Task
from autoopt.workloads.data.cases import Found, items_of, raise_problems
from autoopt.workloads.data.columns import composed
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.layouts.pair_folders import IMAGES, MASKS, SEPARATORS, without_mask_word
from autoopt.workloads.data.readers import name_of, suffix_of

MOST_NAMES, MOST_ENDINGS = 3, 6
Key = tuple[str, str]
"""A case: the folder in which its files lie, and what their names have in common."""


def read_several(folder: Path, task: Task, suffixes: Sequence[str]) -> Found:
    """The cases whose files end with `suffixes`, in the order of the channels. Raises DataError with what is wrong.

    A file that ends with none of them and is no mask is not read, which is said.
    """
    if task != "segmentation":
        raise DataError(
            f"--option suffixes is for images with masks; for a {task} name the files of a case in a table, in the "
            "columns Channel_0, Channel_1, ..."
        )
    if len({suffix.casefold() for suffix in suffixes}) < len(suffixes):
        raise DataError(f"--option suffixes must differ, got {','.join(suffixes)}")
    problems: list[str] = []
    images: dict[Key, dict[str, Path]] = {}
    masks: dict[Key, dict[str, Path]] = {}
    others: list[Path] = []
    for path in _files(folder):
        place, name = _place(folder, path), composed(name_of(path))
        suffix = _suffix_of(name, suffixes)
        stem = without_mask_word(name)
        if suffix is not None:
            _keep(images.setdefault((place, name[: len(name) - len(suffix)]), {}), suffix, path, problems)
        elif stem is not None or path.parent.name.lower() == MASKS:
            _keep(masks.setdefault((place, stem or name), {}), "", path, problems)
        else:
            others.append(path)
    files, complete = {}, []
    names = _names(images)
    for key, found in images.items():
        absent = [suffix for suffix in suffixes if suffix not in found]
        if absent:
            some = next(iter(found.values()))
            problems.append(f"{some} must have beside it files that end with {', '.join(absent)}, they are not there")
        if key not in masks:
            problems.append(f"{next(iter(found.values()))} has no mask, such as {key[1]}_seg.* beside it")
        if not absent and key in masks:
            complete.append(key)
            files[names[key]] = ([Source(found[suffix]) for suffix in suffixes], Source(masks[key][""]))
    problems += [
        f"{mask['']} has no images that end with {', '.join(suffixes)}"
        for key, mask in masks.items()
        if key not in images
    ]
    if not images:
        problems.append(f"{folder} must hold files that end with {', '.join(suffixes)}, as --option suffixes says")
    remarks = _not_read(folder, others)
    items = items_of(
        folder, files, problems, described=f"{folder} without {suffixes[0]} and its ending", remarks=remarks
    )
    raise_problems(problems)
    return Found(
        sorted(items, key=lambda item: item.name),
        f"cases of {len(suffixes)} files each, the channels {', '.join(suffixes)}",
        remarks=tuple(remarks),
    )


def hint(folder: Path) -> str:
    """That a case seems to have several files, and how to say which are channels, as the end of a sentence, or ""."""
    files = [(_place(folder, path), composed(name_of(path)), path) for path in _files(folder)]
    stems = [
        (place, without_mask_word(name) or (name if path.parent.name.lower() == MASKS else None), path)
        for place, name, path in files
    ]
    for place, stem, path in [mask for mask in stems if mask[1] is not None][:MOST_NAMES]:
        if stem is not None:
            endings = [
                other[len(stem) :]
                for where, other, file in files
                if where == place and other.startswith(stem) and other != stem and file != path
                if other[len(stem)] in SEPARATORS and file.parent.name.lower() != MASKS
            ]
            if len(endings) > 1:
                told = ",".join(endings[:MOST_ENDINGS])
                return f"; several files of a case are read with --option suffixes, in the order of channels: {told}"
    return ""


def _files(folder: Path) -> list[Path]:
    """All files below a folder that can be read as images, hidden ones left out, sorted by their paths."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if suffix_of(path) and path.is_file() and not any(part[0] in "._" for part in path.relative_to(folder).parts)
    ]


def _place(folder: Path, path: Path) -> str:
    """The folder of a file; that above for one in images/ and masks/, so that they are of one case."""
    parts = path.relative_to(folder).parts[:-1]
    return composed("/".join(parts[:-1] if parts and parts[-1].lower() in (IMAGES, MASKS) else parts))


def _suffix_of(name: str, suffixes: Sequence[str]) -> str | None:
    """The longest of the endings that a name has, in any case."""
    found = [suffix for suffix in suffixes if name.casefold().endswith(suffix.casefold()) and len(name) > len(suffix)]
    return max(found, key=len, default=None)


def _keep(found: dict[str, Path], suffix: str, path: Path, problems: list[str]) -> None:
    """Note the file of a case; a second one for the same is wrong."""
    if suffix in found:
        problems.append(f"{path.parent} must hold one file of each kind, it holds {found[suffix].name} and {path.name}")
    found.setdefault(suffix, path)


def _names(images: dict[Key, dict[str, Path]]) -> dict[Key, str]:
    """What the cases are called: what is common to the names of their files, with the folder where that is needed."""
    stems = [stem for _, stem in images]
    alone = len(set(stems)) == len(stems)
    return {(place, stem): stem if alone or not place else f"{place}/{stem}" for place, stem in images}


def _not_read(folder: Path, others: Sequence[Path]) -> list[str]:
    """That files end with none of the endings, as a sentence."""
    if not others:
        return []
    some = ", ".join(path.relative_to(folder).as_posix() for path in others[:MOST_NAMES])
    return [f"{folder}: {len(others)} files end with none of the suffixes and are not read, such as {some}"]

"""The raw data of nnU-Net: imagesTr/CASE_0000.*, labelsTr/CASE.*, dataset.json; imagesTs/ with labelsTs/ is the test.

A case has a file for each channel, CASE_0000, CASE_0001, ..., or one picture with all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from autoopt.errors import DataError
from autoopt.workloads.contract import Task
from autoopt.workloads.data.cases import Files, Found, Item, items_of, raise_problems
from autoopt.workloads.data.columns import composed
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.layouts.class_folders import NNUNET
from autoopt.workloads.data.manifest import stray_tables
from autoopt.workloads.data.nnunet_labels import DATASET, DatasetFacts, read_dataset_json
from autoopt.workloads.data.readers import READERS, images_in, name_of

DESCRIPTION = f"{DATASET} with imagesTr/ and labelsTr/ (nnU-Net)"
CHANNEL = re.compile(r"(.+)_(\d{4})")
MOST_LISTED = 3


def fits(folder: Path, task: Task) -> bool:
    """Whether there are imagesTr/, labelsTr/ and a dataset.json."""
    return (folder / DATASET).is_file() and all((folder / name).is_dir() for name in NNUNET)


def read(folder: Path, task: Task) -> Found:
    """The cases of both parts; those of imagesTs with a label are the test split, where there are any.

    Raises DataError with everything that is wrong with names and dataset.json.
    """
    if task != "segmentation":
        raise DataError(f"{folder} has imagesTr/ and labelsTr/, which is a segmentation; a {task} needs classes")
    facts = read_dataset_json(folder / DATASET)
    if facts.ending and facts.ending.lower() not in READERS:
        raise DataError(f"{folder / DATASET}: file_ending must be one of {', '.join(READERS)}, it is {facts.ending}")
    remarks: list[str] = []
    problems = stray_tables(
        folder, (folder / name for name in (*NNUNET, "imagesTs", "labelsTs") if (folder / name).is_dir())
    )
    train, test = (_files(folder, part, facts, problems, remarks) for part in ("Tr", "Ts"))
    problems += [
        f"{folder}: a case must be in imagesTr/ or in imagesTs/, {name} is in both" for name in {*train} & {*test}
    ]
    raise_problems(problems)
    items = items_of(folder, {**train, **test}, problems, described="imagesTr/ without _0000", remarks=remarks)
    raise_problems(problems)
    if test and all(item.split is None for item in items):
        items = [replace(item, split="test" if item.name in test else "train") for item in items]
    return Found(
        sorted(items, key=lambda item: item.name),
        f"the raw data {folder.name} of nnU-Net",
        remarks=tuple(remarks),
        map_labels=facts.labels,
        ignored=facts.ignored,
    )


def is_training_case(folder: Path, item: Item) -> bool:
    """Whether a case lies in imagesTr/, from which nnU-Net trains."""
    return item.images[0].path.parent == folder / NNUNET[0]


def _files(folder: Path, part: str, facts: DatasetFacts, problems: list[str], remarks: list[str]) -> Files:
    """The files of the cases of one part by their names; images without label are a problem, of the test a remark."""
    images, labels = folder / f"images{part}", folder / f"labels{part}"
    if not images.is_dir() or (part == "Ts" and not labels.is_dir()):
        if images.is_dir():
            remarks.append(f"{images} is not read: there is no {labels.name}/ with the label maps of its cases")
        return {}
    channels = _channels(images, facts, problems)
    maps = {composed(name_of(path)): path for path in images_in(labels) if _fits(path, facts)}
    counts = {len(own) for own in channels.values()}
    most = max(counts, default=0)
    for name, own in channels.items():
        missing = [f"{name}_{index:04d}" for index in range(most) if index not in own]
        if missing:
            problems.append(
                f"{images} must have every channel of a case, {', '.join(missing[:MOST_LISTED])} is missing"
            )
    without = sorted(set(channels) - set(maps))
    if without and part == "Tr":
        problems += [f"{images / name}_0000 has no label map {labels.name}/{name}{facts.ending}" for name in without]
    elif without:
        remarks.append(f"{images}: {len(without)} cases without a label map are not read, {without[0]} for one")
    problems += [f"{maps[name]} has no image in {images.name}/" for name in sorted(set(maps) - set(channels))]
    if not channels:
        problems.append(f"{images} must hold images called CASE_0000{facts.ending}, it holds none")
    return {
        name: ([Source(own[index]) for index in sorted(own)], Source(maps[name]))
        for name, own in channels.items()
        if name in maps
    }


def _channels(images: Path, facts: DatasetFacts, problems: list[str]) -> Mapping[str, dict[int, Path]]:
    """The files of each case by the number of their channel."""
    found: dict[str, dict[int, Path]] = {}
    odd: list[Path] = []
    for path in images_in(images):
        match = CHANNEL.fullmatch(composed(name_of(path)))
        if not _fits(path, facts):
            continue
        if match is None:
            odd.append(path)
        else:
            found.setdefault(match[1], {})[int(match[2])] = path
    problems += _odd(odd)
    return found


def _odd(paths: Sequence[Path]) -> list[str]:
    """Images whose names say no channel, as a sentence."""
    if not paths:
        return []
    more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    return [f"{paths[0]}{more} must be called CASE_0000, CASE_0001, ... for its channel, as nnU-Net has it"]


def _fits(path: Path, facts: DatasetFacts) -> bool:
    """Whether a file has the ending that the dataset.json says."""
    return not facts.ending or path.name.endswith(facts.ending)

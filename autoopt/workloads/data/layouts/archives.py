"""Cases in .npz files: NAME.npz with `image` and `label`, or one file with all cases, in the first axis of its arrays.

Such a file has `images` and `labels`, or those of each split: `train_images`, `train_labels`, `val_images`, ... as
MedMNIST has them, or `x_train`, `y_train`, ... as Keras has.

Time series are in `series` in the place of `image` and `images`: (channels, time), or (n, channels, time) of many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoopt.errors import BadData, DataError
from autoopt.workloads.contract import SplitName, Task
from autoopt.workloads.data.arrays import SERIES, array_names, read_array, read_header
from autoopt.workloads.data.cases import Found, Item, items_of, raise_problems
from autoopt.workloads.data.columns import SPLIT_NAMES, composed, split_named
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.manifest import find_table
from autoopt.workloads.data.reading import MANY, ONE

DESCRIPTION = "npz files with image and label"
PATTERN = "*.npz"
PARTS = ("images", "labels", "groups")
MEDMNIST = {part: f"{{}}_{part}" for part in PARTS}
KERAS = {"images": "x_{}", "labels": "y_{}"}
"""What the arrays of a split are called."""
DESCRIBED = "the folder without .npz"


def fits(folder: Path, task: Task) -> bool:
    """Whether there are .npz files."""
    return bool(_archives(folder))


def read(folder: Path, task: Task) -> Found:
    """Cases from npz files, one each or all in one. Raises DataError with everything that is wrong with them."""
    problems: list[str] = []
    archives = _archives(folder)
    names = {path: _names(path, problems) for path in archives}
    raise_problems(problems)
    if len(archives) == 1 and (blocks := _blocks(archives[0], names[archives[0]])):
        return _from_one(archives[0], blocks, task)
    of_series = all(SERIES in there for there in names.values())
    wanted = {SERIES if of_series else ONE, "label"}
    problems += [
        f"{path} must hold the array(s) {', '.join(sorted(wanted - there))}, it holds "
        f"{', '.join(sorted(there)) or 'none'}"
        for path, there in names.items()
        if not wanted <= there
    ]
    remarks: list[str] = []
    items = find_archives(folder, problems, remarks=remarks, key=SERIES if of_series else ONE)
    raise_problems(problems)
    if task != "segmentation":
        items = [_with_class(item, task, problems) for item in items]
    found = _found(sorted(items, key=lambda item: item.name), "npz files with image and label", problems)
    return replace(found, remarks=tuple(remarks))


def find_archives(
    folder: Path,
    problems: list[str],
    *,
    group: str | None = None,
    remarks: list[str] | None = None,
    key: str = ONE,
) -> list[Item]:
    """The cases of NAME.npz files, their arrays `key` and `label`, and what the table of the folder says of them.

    Opens no file. What is wrong joins `problems`; `group` and `remarks` are those of `items_of`. In the order of the
    table, if there is one, else of the names.
    """
    files = {composed(path.stem): ([Source(path, key)], Source(path, "label")) for path in _archives(folder)}
    return items_of(folder, files, problems, described=DESCRIBED, group=group, remarks=remarks)


def _archives(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob(PATTERN)) if not path.name.startswith(".")]


def _with_class(item: Item, task: Task, problems: list[str]) -> Item:
    """The case with its class, or its numbers, read from the file."""
    assert isinstance(item.label, Source)
    return replace(item, label=ANSWERS[task](read_array(item.label), str(item.label), problems))


@dataclass(frozen=True)
class _Block:
    """The arrays of many cases: by what they say (images, labels, groups, splits) their names in the file."""

    prefix: str
    split: SplitName | None
    names: Mapping[str, str]


def _blocks(path: Path, names: set[str]) -> list[_Block]:
    """The arrays of all cases, or of those of each split; empty where there are none. Raises DataError for a half."""
    if "labels" in names and {MANY, SERIES} <= names:
        raise DataError(f"{path} must hold {MANY} or {SERIES}, it holds both: which are the cases is not known")
    if "labels" in names and {MANY, SERIES} & names:
        found = {name: name for name in (*PARTS, "splits") if name in names}
        return [_Block(path.stem, None, {"images": SERIES if SERIES in names else MANY, **found})]
    blocks = []
    for word, split in SPLIT_NAMES.items():
        for patterns in (MEDMNIST, KERAS):
            found = {part: pattern.format(word) for part, pattern in patterns.items() if pattern.format(word) in names}
            lacking = [patterns[part].format(word) for part in ("images", "labels") if part not in found]
            if "images" in found and lacking:
                raise DataError(f"{path} must hold {lacking[0]} beside {found['images']}, it does not")
            if "images" in found:
                blocks.append(_Block(f"{path.stem}-{word}", split, found))
    return blocks


def _from_one(path: Path, blocks: Sequence[_Block], task: Task) -> Found:
    problems: list[str] = []
    if (table := find_table(path.parent)) is not None:
        raise DataError(
            f"{path} must be without a table beside it, as it holds all cases, there is {table}: put what it says into "
            "the arrays `groups` and `splits`, or move it elsewhere"
        )
    items = [item for block in blocks for item in _items_of_block(path, block, task, problems)]
    known = all("groups" in block.names for block in blocks)
    unknown = f"{path}: nothing says which cases are of one patient, each counts as a patient of its own; where that is"
    remarks = () if known else (f"{unknown} wrong, add the array {PARTS[2]}, or train_groups, ...",)
    return replace(_found(items, f"{len(items)} cases in {path.name}", problems), remarks=remarks)


def _items_of_block(path: Path, block: _Block, task: Task, problems: list[str]) -> Iterator[Item]:
    """The cases of arrays that belong together. Raises DataError where they are of different lengths, or empty."""
    lengths = {part: (read_header(Source(path, key)).shape or (0,))[0] for part, key in block.names.items()}
    count = lengths["images"]
    if 0 in read_header(Source(path, block.names["images"])).shape:
        raise DataError(f"{path} must hold {block.names['images']}, its {block.names['images']} are empty")
    if len(set(lengths.values())) > 1:
        came = ", ".join(f"{length} {block.names[part]}" for part, length in lengths.items())
        raise DataError(
            f"{path} must hold as many labels, groups and splits as {block.names['images']}, it holds {came}"
        )
    groups, splits = (
        read_array(Source(path, block.names[part])).tolist() if part in block.names else None
        for part in ("groups", "splits")
    )
    labels = read_array(Source(path, block.names["labels"])) if task != "segmentation" else None
    for index in range(count):
        name = f"{block.prefix}-{index:05d}"
        source = Source(path, block.names["labels"], index)
        split = block.split
        if splits is not None:
            split = split_named(_text(splits[index]), f"{path} case {index}", problems)
        target = source if labels is None else ANSWERS[task](np.asarray(labels[index]), str(source), problems)
        group = name if groups is None else _text(groups[index])
        yield Item(name, group, split, (Source(path, block.names["images"], index),), target)


def _found(items: list[Item], description: str, problems: list[str]) -> Found:
    lengths = {len(item.label) if isinstance(item.label, tuple) else 0 for item in items}
    if len(lengths) > 1:
        problems.append(f"all labels must have one length, some have {', '.join(map(str, sorted(lengths)))}")
    raise_problems(problems)
    return Found(items, description, tuple(f"label_{index}" for index in range(max(lengths, default=0))), named=False)


def _class_of(label: np.ndarray, where: str, problems: list[str]) -> str | tuple[int, ...]:
    """The name of a class, or in a multilabel task 0 / 1 for each label."""
    if label.dtype.kind == "O" or label.ndim > 1 or label.size == 0:
        problems.append(
            f"{where} must be one class, or in a multilabel task 0 / 1 for each label, it is {label.dtype}, shape "
            f"{label.shape}"
        )
    elif label.size == 1:
        return _text(label.reshape(()).item())
    elif label.dtype.kind not in "buif" or not np.isin(label, (0, 1)).all():
        problems.append(f"{where} must be 0 or 1 for each label, it is {label.tolist()}")
    else:
        return tuple(int(value) for value in label)
    return ""


def _numbers_of(label: np.ndarray, where: str, problems: list[str]) -> str | tuple[float, ...]:
    """The numbers of a case, of a scalar one."""
    if label.dtype.kind in "buif" and label.ndim <= 1 and label.size and np.isfinite(label).all():
        return tuple(float(value) for value in np.ravel(label))
    problems.append(f"{where} must be one or several finite numbers, it is {label.dtype}, shape {label.shape}")
    return (0.0,)


ANSWERS = {"classification": _class_of, "regression": _numbers_of}
"""What a label is read as, by the task; that of a segmentation stays in the file until it is needed."""


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _names(path: Path, problems: list[str]) -> set[str]:
    try:
        return array_names(path)
    except BadData as error:
        problems.append(error.message)
        return set()

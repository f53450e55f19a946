"""What the files of a data folder are: the layouts that `dataset.py` names, each found by looking."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from autoopt.errors import DataError
from autoopt.workload import SPLITS, SplitName, Task
from autoopt.workloads.arrays import SUFFIXES, Source, read_members, stem_of, suffix_of
from autoopt.workloads.table import raise_problems, read_table

CHANNEL, LABEL, VALUE = "Channel_", "Label", "ValueToPredict"
GROUPS = ("SubjectID", "subject", "patient", "case", "group")
SPLIT_COLUMNS = ("split", "Split")
SPLIT_NAMES: Mapping[str, SplitName] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test", "calibration": "calibration",
}  # fmt: skip
IMAGES, MASKS, MANIFEST = "images", "masks", "manifest.csv"


@dataclass(frozen=True)
class Item:
    """One case as files. `label` is the source of a label map, a class, or 0 / 1 for each of several labels.

    `dimensions` is the number of spatial axes where the layout knows it.
    """

    name: str
    group: str
    split: SplitName | None
    images: tuple[Source, ...]
    label: Source | str | tuple[int, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    dimensions: int | None = None


@dataclass(frozen=True)
class Found:
    """The cases of a folder and how it was read; `names` are the labels where the layout names them."""

    items: list[Item]
    description: str
    names: tuple[str, ...] = ()
    multilabel: bool = False


def find_items(folder: Path, task: Task) -> Found:
    """The cases in a folder, by the one layout that fits. Raises DataError with what was looked for and is there."""
    tables = [path for path in sorted(folder.glob("*.csv")) if _is_case_table(path)]
    archives = sorted(folder.glob("*.npz"))
    fitting = {
        "table": bool(tables),
        "pairs": (folder / IMAGES).is_dir() and (folder / MASKS).is_dir(),
        "classes": task == "classification" and not tables and bool(_class_folders(folder)),
        "arrays": bool(archives),
    }
    names = [name for name, fits in fitting.items() if fits]
    if len(tables) > 1:
        raise DataError(f"{folder} must hold one table of cases, it holds {', '.join(path.name for path in tables)}")
    if len(names) != 1:
        there = ", ".join(sorted(path.name for path in folder.iterdir())[:8]) or "nothing"
        what = f"it fits {' and '.join(names)}" if names else f"it holds {there}"
        raise DataError(
            f"{folder} must have one layout that a {task} can be read from (a CSV with the columns {CHANNEL}0 and "
            f"{LABEL}; {IMAGES}/ and {MASKS}/; a folder per class; npz files with image and label): {what}. "
            "See docs/workloads.md"
        )
    if names == ["table"]:
        return _from_table(tables[0], task)
    if names == ["pairs"]:
        return _from_pairs(folder, task)
    return _from_classes(folder) if names == ["classes"] else _from_arrays(folder, archives, task)


def _is_case_table(path: Path) -> bool:
    with path.open("rb") as stream:
        return f"{CHANNEL}0".encode() in stream.readline()


def _from_table(path: Path, task: Task) -> Found:
    lines, problems = read_table(path, (f"{CHANNEL}0",))
    raise_problems(problems)
    columns = list(lines[0]) if lines else []
    channels = [name for name in columns if name.startswith(CHANNEL)]
    several = [name.removeprefix(f"{LABEL}_") for name in columns if name.startswith(f"{LABEL}_")]
    label = LABEL if task == "segmentation" or VALUE not in columns else VALUE
    if label not in columns and not (task == "classification" and several):
        raise DataError(f"{path} must have the column {label} for a {task}, it has {', '.join(columns) or 'no lines'}")
    group = next((name for name in GROUPS if name in columns), None)
    items = []
    for number, line in enumerate(lines, start=2):
        where = f"{path} line {number}"
        split, split_problem = _split_of(line)
        problems += [f"{where}: {split_problem}"] if split_problem else []
        sources = [_inside(path.parent, line[name], where, problems) for name in channels if line[name]]
        target: Source | str | tuple[int, ...] | None
        if task == "segmentation":
            target = _inside(path.parent, line[label], where, problems)
        elif several:
            target = tuple(1 if line[f"{LABEL}_{name}"] in ("1", "1.0", "true") else 0 for name in several)
        else:
            target = line[label]
        if not sources and not problems:
            problems.append(f"{where}: {CHANNEL}0 must name a file, it is empty")
        if None in sources or not target:
            continue
        name = line.get("SubjectID") or line[f"{CHANNEL}0"]
        tags = {key: value for key, value in line.items() if key not in (*channels, label, *SPLIT_COLUMNS)}
        images = tuple(source for source in sources if source is not None)
        items.append(Item(name, line[group] if group else name, split, images, target, tags))
    raise_problems([*problems, *_repeated(path, items)])
    names = tuple(several) if task == "classification" and several else ()
    return Found(_unique(items), f"cases from the table {path.name}", names, bool(names))


def _from_pairs(folder: Path, task: Task) -> Found:
    if task != "segmentation":
        raise DataError(f"{folder} has {IMAGES}/ and {MASKS}/, which is a segmentation; a {task} needs classes")
    images, masks = (_by_stem(folder / part) for part in (IMAGES, MASKS))
    problems = [f"{masks[name]} has no image in {IMAGES}/" for name in sorted(set(masks) - set(images))]
    problems += [f"{images[name]} has no mask in {MASKS}/" for name in sorted(set(images) - set(masks))]
    if not images:
        problems.append(f"{folder / IMAGES} must hold images ({', '.join(SUFFIXES)}), it holds none")
    lines: dict[str, dict[str, str]] = {}
    if (folder / MANIFEST).is_file():
        table, more = read_table(folder / MANIFEST, ("name",))
        problems += more
        lines = {line["name"]: line for line in table}
        problems += [f"{folder / MANIFEST} must list every image, {name} is missing" for name in images if not more
                     and name not in lines]  # fmt: skip
        problems += [f"{folder / MANIFEST}: there is no image {name!r}" for name in lines if name not in images]
    items = []
    for name in sorted(set(images) & set(masks)):
        line = lines.get(name, {})
        split, split_problem = _split_of(line)
        problems += [f"{folder / MANIFEST}, {name}: {split_problem}"] if split_problem else []
        group = next((line[column] for column in GROUPS if line.get(column)), name)
        tags = {key: value for key, value in line.items() if key not in ("name", *SPLIT_COLUMNS)}
        items.append(Item(name, group, split, (Source(images[name]),), Source(masks[name]), tags))
    raise_problems(problems)
    return Found(items, f"pairs of {IMAGES}/ and {MASKS}/")


def _from_classes(folder: Path) -> Found:
    items = []
    for path in _class_folders(folder):
        inside = path.relative_to(folder).parts
        split = SPLIT_NAMES.get(inside[0].lower()) if len(inside) == 2 else None
        for file in sorted(path.iterdir()):
            if suffix_of(file) in SUFFIXES:
                name = file.relative_to(folder).as_posix()
                items.append(Item(name, name, split, (Source(file),), path.name))
    return Found(items, f"classes from the folders {', '.join(sorted({str(item.label) for item in items}))}")


def _from_arrays(folder: Path, archives: Sequence[Path], task: Task) -> Found:
    first = read_members(archives[0])
    if len(archives) == 1 and {"images", "labels"} <= set(first):
        return _from_one_archive(archives[0], task)
    lines, problems = ([], []) if not (folder / MANIFEST).is_file() else read_table(folder / MANIFEST, ("name",))
    by_name = {line["name"]: line for line in lines}
    dimensions = _dimensions(first["image"], first["label"], task) if {"image", "label"} <= set(first) else None
    items = []
    for path in archives:
        line = by_name.get(path.stem, {})
        split, split_problem = _split_of(line)
        problems += [f"{folder / MANIFEST}, {path.stem}: {split_problem}"] if split_problem else []
        if lines and not line:
            problems.append(f"{folder / MANIFEST} must list every file, {path.name} is missing")
        group = next((line[column] for column in GROUPS if line.get(column)), path.stem)
        label = read_members(path, ("label",))["label"]
        problems += _label_problem(path, label.ndim, task)
        target = _target(Source(path, "label"), label, task)
        items.append(Item(path.stem, group, split, (Source(path, "image"),), target, dimensions=dimensions))
    raise_problems(problems)
    return _arrays_found(items, "npz files with image and label")


def _from_one_archive(path: Path, task: Task) -> Found:
    members = read_members(path)
    images, labels = members["images"], members["labels"]
    count = len(images)
    if len(labels) != count or any(len(members[key]) != count for key in ("groups", "splits") if key in members):
        raise DataError(f"{path} must hold as many labels, groups and splits as its {count} images")
    raise_problems(_label_problem(path, labels.ndim - 1, task))
    items = []
    for index in range(count):
        name = f"{path.stem}-{index:05d}"
        group = str(members["groups"][index]) if "groups" in members else name
        split, problem = _split_of({"split": str(members["splits"][index])} if "splits" in members else {})
        if problem:
            raise DataError(f"{path} case {index}: {problem}")
        target = _target(Source(path, "labels", index), labels[index], task)
        dimensions = _dimensions(images[index], labels[index], task)
        items.append(Item(name, group, split, (Source(path, "images", index),), target, dimensions=dimensions))
    return _arrays_found(items, f"{count} cases in {path.name}")


def _dimensions(image: np.ndarray, label: np.ndarray, task: Task) -> int | None:
    """The spatial axes of an image, seen from its label map, whose last axis may be that of several labels."""
    if task != "segmentation":
        return None
    several = image.ndim == label.ndim and image.shape != label.shape and image.shape[:-1] == label.shape[:-1]
    return label.ndim - 1 if several else label.ndim


def _label_problem(path: Path, dimensions: int, task: Task) -> list[str]:
    if task == "segmentation" and dimensions < 2:
        return [f"{path}: the label of a segmentation must be a map of the image's size, it has {dimensions} axes"]
    if task == "classification" and dimensions > 1:
        return [f"{path}: the label of a classification must be one class, or 0 / 1 per label, it is a map"]
    return []


def _target(source: Source, label: np.ndarray, task: Task) -> Source | str | tuple[int, ...]:
    """A label map stays in its file; a class is its text; 0 / 1 for each of several labels is a tuple."""
    if task == "segmentation":
        return source
    return tuple(int(item) for item in label) if label.ndim else str(label.item())


def _arrays_found(items: list[Item], description: str) -> Found:
    several = bool(items) and isinstance(items[0].label, tuple)
    count = len(items[0].label) if several and isinstance(items[0].label, tuple) else 0
    return Found(items, description, tuple(f"label_{index}" for index in range(count)), several)


def _split_of(line: Mapping[str, str]) -> tuple[SplitName | None, str | None]:
    text = next((line[column] for column in SPLIT_COLUMNS if line.get(column)), None)
    if text is None:
        return None, None
    split = SPLIT_NAMES.get(text.lower())
    return split, None if split else f"split must be one of {', '.join(SPLITS)}, got {text!r}"


def _inside(folder: Path, text: str, where: str, problems: list[str]) -> Source | None:
    """The file that a table names, which must lie below its folder."""
    pure = PurePosixPath(text.replace("\\", "/"))
    if not text or pure.is_absolute() or ".." in pure.parts or ":" in pure.parts[0]:
        problems.append(f"{where}: a file must be named by its path below the folder of the table, got {text!r}")
        return None
    path = folder / pure
    if not path.is_file():
        problems.append(f"{where}: there is no file {text!r}")
        return None
    if suffix_of(path) not in SUFFIXES:
        problems.append(f"{where}: {text!r} must be one of {', '.join(SUFFIXES)}")
        return None
    return Source(path)


def _repeated(path: Path, items: Iterable[Item]) -> list[str]:
    seen, problems = set[tuple[Source, ...]](), []
    for item in items:
        if item.images in seen:
            problems.append(f"{path}: {item.images[0].path.name} is there twice")
        seen.add(item.images)
    return problems


def _unique(items: list[Item]) -> list[Item]:
    """Subjects with several lines get a number each, so that names differ."""
    counts: dict[str, int] = {}
    for item in items:
        counts[item.name] = counts.get(item.name, 0) + 1
    seen: dict[str, int] = {}
    unique = []
    for item in items:
        seen[item.name] = seen.get(item.name, -1) + 1
        unique.append(item if counts[item.name] == 1 else replace(item, name=f"{item.name}-{seen[item.name]}"))
    return unique


def _class_folders(folder: Path) -> list[Path]:
    """CLASS/ or SPLIT/CLASS/ folders with images in them."""
    below = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    if below and all(path.name.lower() in SPLIT_NAMES for path in below):
        below = [inner for path in below for inner in sorted(path.iterdir()) if inner.is_dir()]
    names = {path.name for path in below}
    if names <= {IMAGES, MASKS}:
        return []
    return [path for path in below if any(suffix_of(file) in SUFFIXES for file in path.iterdir())]


def _by_stem(folder: Path) -> dict[str, Path]:
    return {stem_of(path): path for path in sorted(folder.iterdir()) if suffix_of(path) in SUFFIXES}

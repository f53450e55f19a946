"""Anyone's data folder, read by what it looks like. Exactly one of these layouts must fit:

| layout | segmentation | classification |
| --- | --- | --- |
| table | a CSV with `Channel_0`, `Channel_1`, ... and `Label`, paths beside it (GaNDLF) | `Channel_0` and a class |
| pairs | images/NAME.* and masks/NAME.*, optionally manifest.csv with `name` | |
| classes | | CLASS/NAME.*, or train/CLASS/NAME.*, val/..., test/... |
| arrays | NAME.npz with `image` and `label`; or one npz with `images` and `labels` (cases first) | the same |

The class of a table is in `ValueToPredict` or `Label`; columns `Label_NAME` of 0 / 1 are several labels at once.
Files are pictures, NIfTI (.nii, .nii.gz) or .npy. A table or manifest may have a group (`patient`, `group`,
`SubjectID`, `case`) and a split (`split`: train, val, test, calibration); an npz with all cases `groups` and `splits`.
Without a group every case is one of its own; without splits whole groups are split 70 / 15 / 15.

Masks hold 0, 1, 2, ... (255 is not known), or all of them 0 and 255; arrays of 0 / 1 with an axis of labels at the end
are several labels at once. Headers and label maps are looked at here, images are read by `Case.read`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

import numpy as np

from autoopt.core.configuration import digest
from autoopt.errors import BadData, DataError
from autoopt.workloads.contract import Case, Sample, SplitName, Splits, Task
from autoopt.workloads.data.layouts import find_items
from autoopt.workloads.data.layouts.archives import read_array
from autoopt.workloads.data.layouts.headers import Geometry, read_headers
from autoopt.workloads.data.layouts.items import PICTURES, VOLUMES, Found, Item, Source, suffix_of
from autoopt.workloads.data.layouts.maps import LabelMaps, absent_labels, read_label_maps
from autoopt.workloads.data.pictures import read_picture
from autoopt.workloads.data.table import FRACTIONS, Row, build_splits, data_digest, finish_rows, raise_problems
from autoopt.workloads.data.volumes import read_volume
from autoopt.workloads.splitting import split_by_group

JUDGED: tuple[SplitName, ...] = ("val", "test")
"""Splits that are scored: a label that a case has must be in each of them."""
DRAWS = 100
"""So many random splits are drawn until one leaves out no label."""


@dataclass(frozen=True)
class Dataset:
    """Cases and what was learnt of them by looking.

    `layout` is one sentence that says how the folder was read; `value_range` is what pixels are divided by unless
    something else is said: 255 for 8-bit pictures, 65535 for 16 bits, 1 else. `sizes` are spatial sizes of some cases.
    """

    splits: Splits
    labels: tuple[str, ...]
    channels: int
    dimensions: int
    digest: str
    layout: str
    multilabel: bool
    value_range: float
    sizes: tuple[tuple[int, ...], ...]
    has_affine: bool


@dataclass(frozen=True)
class _Classes:
    """The names of classes (or of several labels) in order, and what a case's answer is."""

    names: tuple[str, ...]
    numbers: dict[str, int]
    order: tuple[int, ...]

    def answer(self, item: Item) -> np.ndarray:
        if isinstance(item.label, tuple):
            return np.array([item.label[index] for index in self.order], np.uint8)
        return np.array(self.numbers[cast(str, item.label)])

    def present(self, item: Item) -> frozenset[int]:
        answer = self.answer(item)
        return frozenset(np.flatnonzero(answer).tolist() if answer.ndim else [int(answer)])


def read_dataset(folder: Path, task: Task, labels: Sequence[str] | None = None) -> Dataset:
    """The cases in `folder`. Raises DataError with everything that is wrong with its names, tables and headers.

    `labels` are the names of the classes; without them they are those of the layout, or background, label_1, ... for
    the values that the label maps have.
    """
    if not folder.is_dir():
        raise DataError(f"the data folder must be a folder, {folder} is {'a file' if folder.exists() else 'not there'}")
    found = find_items(folder, task)
    if not found.items:
        raise DataError(f"{folder} must hold cases, it holds none ({found.description})")
    geometry = read_headers(found.items)
    by_name = {item.name: item for item in found.items}
    answers: LabelMaps | _Classes
    if task == "segmentation":
        answers, present = read_label_maps(found.items, geometry, labels)
    else:
        answers = _classes(found, labels)
        present = {item.name: answers.present(item) for item in found.items}

    def problems_of(rows: Sequence[Row]) -> list[str]:
        judged: tuple[SplitName, ...] = JUDGED if task == "segmentation" else ("train", *JUDGED)
        wanted = None if isinstance(answers, LabelMaps) else frozenset(range(len(answers.names)))
        cases = {split: [row.name for row in rows if row.split == split] for split in judged}
        return [f"{folder}: {text}" for text in absent_labels(answers.names, present, cases, wanted)]

    rows = _rows(folder, found.items, problems_of)

    def case(row: Row) -> Case:
        item = by_name[row.name]
        return Case(row.name, row.group, lambda: _sample(item, geometry, answers), row.tags)

    files = data_digest(folder, rows, lambda row: sorted({source.path for source in by_name[row.name].sources}))
    classes = (
        []
        if isinstance(answers, LabelMaps)
        else [[row.name, answers.answer(by_name[row.name]).tolist()] for row in sorted(rows, key=lambda row: row.name)]
    )
    return Dataset(
        splits=build_splits(rows, case),
        labels=answers.names,
        channels=sum(geometry.files),
        dimensions=geometry.dimensions,
        digest=digest([files, classes]),
        layout=f"The folder was read as {found.description}: {len(rows)} cases, {geometry.dimensions}D.",
        multilabel=bool(found.names or geometry.layers),
        value_range=geometry.value_range,
        sizes=geometry.sizes,
        has_affine=geometry.has_affine,
    )


def _rows(folder: Path, items: Sequence[Item], problems_of: Callable[[Sequence[Row]], list[str]]) -> list[Row]:
    """The cases with their splits: those given, or the first draw that leaves no label out of a split."""
    given = {item.split for item in items}
    if None in given and len(given) > 1:
        missing = next(item.name for item in items if item.split is None)
        raise DataError(f"{folder}: every case must have a split or none, {missing} has none")
    groups = len({item.group for item in items})
    if None in given and groups < 3:
        raise DataError(
            f"{folder} must have cases of at least three patients to be split into train, val and test, "
            f"it has {len(items)} of {groups}: add cases of other patients"
        )
    problems: list[str] = []
    parts = _strata(items) if None in given else []
    for seed in range(DRAWS if parts else 1):
        drawn: dict[str, SplitName] = {}
        for part in parts:
            drawn |= split_by_group([(item.name, item.group) for item in part], FRACTIONS, seed)
        rows = [Row(item.name, item.group, item.split or drawn[item.name], item.tags) for item in items]
        rows = finish_rows(folder, rows)
        again = problems_of(rows)
        if not again:
            break
        problems = problems or again
    else:
        raise_problems(problems)
    return rows


def _strata(items: Sequence[Item]) -> list[list[Item]]:
    """The cases of each class, split by themselves so that no split lacks one; all together where that cannot be."""
    classes: dict[object, list[Item]] = {}
    for item in items:
        classes.setdefault(item.label if isinstance(item.label, str) else None, []).append(item)
    groups = [{item.group for item in part} for part in classes.values()]
    mixed = sum(len(part) for part in groups) > len(set().union(*groups))
    return [list(items)] if mixed or min(len(part) for part in groups) < 3 else list(classes.values())


def _classes(found: Found, wanted: Sequence[str] | None) -> _Classes:
    """The classes in the order that was asked for. Raises DataError where names do not say which class is which."""
    if found.names:
        names = tuple(wanted or found.names)
        if found.named and set(names) == set(found.names):
            return _Classes(names, {}, tuple(found.names.index(name) for name in names))
        if found.named or len(names) != len(found.names):
            raise DataError(f"--option labels must name {', '.join(found.names)}, got {', '.join(names)}")
        return _Classes(names, {}, tuple(range(len(names))))
    there = tuple(sorted({cast(str, item.label) for item in found.items}, key=_by_number))
    if len(there) < 2:
        raise DataError(f"there must be cases of at least two classes, all are {', '.join(there)}")
    names = tuple(wanted or there)
    if set(there) <= set(names):
        return _Classes(names, {name: names.index(name) for name in there}, ())
    numbered = all(_by_number(name)[0] == 0 for name in there) and not set(there) & set(names)
    if numbered and {*there} <= {str(number) for number in range(len(names))}:
        return _Classes(names, {name: int(name) for name in there}, ())
    if numbered and len(there) == len(names):
        return _Classes(names, {name: number for number, name in enumerate(there)}, ())
    raise DataError(f"--option labels must name the classes {', '.join(there)} in some order, got {', '.join(names)}")


def _by_number(label: str) -> tuple[int, float, str]:
    try:
        return 0, float(label), label
    except ValueError:
        return 1, 0.0, label


def _sample(item: Item, geometry: Geometry, answers: LabelMaps | _Classes) -> Sample:
    parts, affine = [], None
    for source, channels in zip(item.images, geometry.files, strict=True):
        image, own = _image(source, channels)
        parts.append(image if image.ndim > geometry.dimensions else image[..., np.newaxis])
        affine = own if affine is None else affine
    image = np.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
    if isinstance(answers, _Classes):
        return Sample(image, answers.answer(item), affine)
    return Sample(image, answers.read(cast(Source, item.label)), affine)


def _image(source: Source, channels: int) -> tuple[np.ndarray, np.ndarray | None]:
    """One file of a case, finite real numbers, and its affine if it has one. Raises BadData."""
    suffix = suffix_of(source.path) if source.key is None else ""
    if suffix in PICTURES:
        return read_picture(source.path, cast(Literal[1, 3], channels)), None
    if suffix in VOLUMES:
        return read_volume(source.path)
    values = read_array(source)
    bad = 0 if values.dtype.kind != "f" else int(np.count_nonzero(~np.isfinite(values)))
    if bad:
        raise BadData(f"{source} must hold finite numbers, {bad} of its {values.size} are NaN or infinite")
    return values, None

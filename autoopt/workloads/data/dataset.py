"""Somebody's data folder, read by what it looks like. Exactly one of these layouts must fit (`layouts.LAYOUTS`):

| layout | segmentation | classification |
| --- | --- | --- |
| table | a CSV with `Channel_0`, `Channel_1`, ... and `Label`, paths beside it (GaNDLF) | `Channel_0` and a class |
| pairs | images/NAME.* and masks/NAME.*, optionally manifest.csv with `name` | |
| classes | | CLASS/NAME.*, or train/CLASS/NAME.*, val/..., test/... |
| arrays | NAME.npz with `image` and `label`; or one npz with `images` and `labels` (cases first) | the same |

The class of a table is in `ValueToPredict` or `Label`; columns `Label_NAME` of 0 / 1 make a multilabel task.
Files are those that a reader in `readers.READERS` reads. A table or manifest may name the patient (`patient`, `group`,
`SubjectID`, `case`) and the split (`split`: train, val, test, calibration); an npz with all cases may have `groups` and
`splits`. Without a patient every case is one of its own; without splits whole patients are split 70 / 15 / 15.

Masks hold 0, 1, 2, ... (255 is unknown), or all of them 0 and 255; arrays of 0 / 1 with a last axis of labels make a
multilabel task. Headers and label maps are looked at here, images are read by `Case.read`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from autoopt.core.configuration import digest
from autoopt.errors import DataError
from autoopt.workloads.contract import Sample, SplitName, Splits, Task
from autoopt.workloads.data.cases import Found, Item, check_folder, data_digest, split_items, to_splits
from autoopt.workloads.data.headers import CaseFormat, read_headers
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.label_maps import SCANNED_MAPS, LabelMaps, absent_labels, read_label_maps
from autoopt.workloads.data.layouts import find_items
from autoopt.workloads.data.readers import Opener, open_image

JUDGED: tuple[SplitName, ...] = ("val", "test")
"""Splits that are scored: a label that any case has must be in each of them."""


@dataclass(frozen=True)
class Dataset:
    """Cases in four splits, and what was learnt by looking at their files.

    `layout` is one sentence that says how the folder was read. `value_range` is what pixels are divided by unless
    something else is said: 255 for 8-bit pictures, 65535 for 16 bits, 1 else. `sizes` are spatial sizes of some cases.
    `pictures`: whether the images are pictures (PNG, JPEG, ...), None where only some are.
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
    pictures: bool | None


@dataclass(frozen=True)
class _Classes:
    """The names of the classes, or of the labels of a multilabel task, in order, and the answer for a case.

    `numbers` has the number of each class by what the data call it; `order` the place in `Item.label` of each label.
    """

    names: tuple[str, ...]
    numbers: dict[str, int]
    order: tuple[int, ...]

    def answer(self, item: Item) -> np.ndarray:
        """The class as one integer, or 0 / 1 for each label."""
        if isinstance(item.label, tuple):
            return np.array([item.label[index] for index in self.order], np.uint8)
        return np.array(self.numbers[cast(str, item.label)])

    def present(self, item: Item) -> frozenset[int]:
        """The numbers of the classes that the case has."""
        answer = self.answer(item)
        return frozenset(np.flatnonzero(answer).tolist() if answer.ndim else [int(answer)])


def read_dataset(
    folder: Path,
    task: Task,
    labels: Sequence[str] | None = None,
    *,
    scanned_maps: int = SCANNED_MAPS,
    opener: Opener = open_image,
) -> Dataset:
    """The cases in `folder`. Raises DataError with everything that is wrong with its names, tables and headers.

    `labels` are the names of the classes; without them they are those of the layout, or background, label_1, ... for
    the values that at most `scanned_maps` label maps have. `opener` opens the files.
    """
    check_folder(folder)
    found = find_items(folder, task)
    if not found.items:
        raise DataError(f"{folder} must hold cases, it holds none ({found.description})")
    form = read_headers(found.items, opener)
    answers: LabelMaps | _Classes
    if task == "segmentation":
        answers, present = read_label_maps(found.items, form, labels, scanned=scanned_maps, opener=opener)
    else:
        answers = _classes(found, labels)
        present = {item.name: answers.present(item) for item in found.items}

    def problems_of(items: Sequence[Item]) -> list[str]:
        judged: tuple[SplitName, ...] = JUDGED if task == "segmentation" else ("train", *JUDGED)
        wanted = None if isinstance(answers, LabelMaps) else frozenset(range(len(answers.names)))
        cases = {split: [item.name for item in items if item.split == split] for split in judged}
        return [f"{folder}: {text}" for text in absent_labels(answers.names, present, cases, wanted)]

    items = split_items(folder, found.items, problems_of)
    classes = (
        []
        if isinstance(answers, LabelMaps)
        else [[item.name, answers.answer(item).tolist()] for item in sorted(items, key=lambda item: item.name)]
    )
    return Dataset(
        splits=to_splits(items, lambda item: _sample(item, form, answers, opener)),
        labels=answers.names,
        channels=sum(form.channels),
        dimensions=form.dimensions,
        digest=digest([data_digest(folder, items), classes]),
        layout=f"The folder was read as {found.description}: {len(items)} cases, {form.dimensions}D.",
        multilabel=bool(found.label_names or form.map_labels),
        value_range=form.value_range,
        sizes=form.sizes,
        has_affine=form.has_affine,
        pictures=form.pictures,
    )


def _classes(found: Found, wanted: Sequence[str] | None) -> _Classes:
    """The classes in the order that was asked for. Raises DataError where names do not say which class is which."""
    if found.label_names:
        names = tuple(wanted or found.label_names)
        if found.named and set(names) == set(found.label_names):
            return _Classes(names, {}, tuple(found.label_names.index(name) for name in names))
        if found.named or len(names) != len(found.label_names):
            raise DataError(f"--option labels must name {', '.join(found.label_names)}, got {', '.join(names)}")
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


def _sample(item: Item, form: CaseFormat, answers: LabelMaps | _Classes, opener: Opener) -> Sample:
    """A case: its image files side by side as channels, its reference, and the affine of the first file with one."""
    parts, affine = [], None
    for source, channels in zip(item.images, form.channels, strict=True):
        file = opener(source)
        image = file.read()
        image = image if image.ndim > form.dimensions else image[..., np.newaxis]
        parts.append(np.repeat(image, channels, axis=-1) if image.shape[-1] == 1 < channels else image)
        affine = file.affine if affine is None else affine
    image = np.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
    if isinstance(answers, _Classes):
        return Sample(image, answers.answer(item), affine)
    return Sample(image, answers.read(cast(Source, item.label)), affine)

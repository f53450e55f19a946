"""Somebody's data folder, read by what it looks like. Exactly one of these layouts must fit (`layouts.LAYOUTS`):

| layout | segmentation | classification |
| --- | --- | --- |
| table | a CSV with `Channel_0`, `Channel_1`, ... and `Label`, paths beside it (GaNDLF) | `Channel_0` and a class |
| pairs | images/NAME.* and masks/NAME.*, also in folders of splits and others | |
| beside | NAME.* and NAME_mask.* side by side | |
| several files | NAME_t1.*, NAME_t2.* and NAME_seg.*, where the endings were asked for (`wishes.Wishes`) | |
| classes | | CLASS/NAME.*, or train/CLASS/NAME.*, val/..., test/... |
| arrays | NAME.npz with `image` and `label`; or one npz with `images` and `labels`, or those of splits | the same |
| nnU-Net | imagesTr/CASE_0000.*, labelsTr/CASE.*, dataset.json; imagesTs and labelsTs are the test | |

The class of a table is in `ValueToPredict` or `Label`; columns `Label_NAME` of 0 / 1 make a multilabel task. A
regression takes tables, where `labels` names the columns of its numbers, and arrays, whose labels are the numbers.
Files are those that a reader in `readers.READERS` reads. Beside pairs, classes and arrays a table may lie that names
the image of each line, its patient and its split (`columns` has the usual names): it is read or refused, never ignored.
An npz with all cases may have `groups` and `splits`. Without a patient every case is one of its own, but for tiles of
one slide; without splits whole patients are split 70 / 15 / 15, and without val it is drawn from train.

Masks hold 0, 1, 2, ... (255 is unknown), or all of them 0 and 255; arrays of 0 / 1 with a last axis of labels make a
multilabel task. Headers and label maps are looked at here, images are read by `Case.read`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from autoopt.core.configuration import digest
from autoopt.errors import DataError
from autoopt.workloads.contract import IGNORED, Sample, SplitName, Splits, Task
from autoopt.workloads.data.cases import (
    Found,
    Item,
    check_folder,
    data_digest,
    lacks_val,
    raise_problems,
    split_items,
    to_splits,
)
from autoopt.workloads.data.channel_files import common_suffixes
from autoopt.workloads.data.class_names import ClassNames, Order, class_names
from autoopt.workloads.data.headers import CaseFormat, read_headers
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.label_maps import (
    SCANNED_MAPS,
    LabelMaps,
    absent_labels,
    ignoring,
    rare_labels,
    read_label_maps,
)
from autoopt.workloads.data.layouts import find_items
from autoopt.workloads.data.numbers import Numbers, numbers_of
from autoopt.workloads.data.readers import Opener
from autoopt.workloads.data.reading import AS_STORED, Reading, with_channels
from autoopt.workloads.data.wishes import NOTHING_ELSE, Wishes

Answers = LabelMaps | ClassNames | Numbers
"""What the references of cases are read with."""
JUDGED: tuple[SplitName, ...] = ("val", "test")
"""Splits that are scored: a label that any case has must be in each of them."""


@dataclass(frozen=True)
class Dataset:
    """Cases in four splits, and what was learnt by looking at their files.

    `layout` is one sentence that says how the folder was read. `value_range` is what pixels are divided by unless
    something else is said: 255 for 8-bit pictures, 65535 for 16 bits, 1 else. `sizes` are spatial sizes of some cases.
    `remarks` are sentences on what was understood without being asked, and on what is not known.
    `pictures`: whether the images are pictures (PNG, JPEG, ...), None where only some are. `reading`: how files are
    read.
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
    remarks: tuple[str, ...] = ()
    reading: Reading = AS_STORED


def read_dataset(
    folder: Path,
    task: Task,
    labels: Sequence[str] | None = None,
    *,
    order: Order | None = None,
    said: Sequence[str] = (),
    wishes: Wishes = NOTHING_ELSE,
    scanned_maps: int = SCANNED_MAPS,
    opener: Opener | None = None,
    adapt: Callable[[Found], Found] = lambda found: found,
) -> Dataset:
    """The cases in `folder`. Raises DataError with everything that is wrong with its names, tables and headers.

    `labels` are the names of the classes; without them they are those of the layout, or background, label_1, ... for
    the values that at most `scanned_maps` label maps have. `order` is that of classes called by numbers, `said` are the
    names that the model has for its answers. `opener` opens the files, by default as `wishes` say. `adapt` may change
    the splits of what was found.
    """
    check_folder(folder)
    opener = opener or wishes.reading.open
    found = adapt(find_items(folder, task, wishes.suffixes, wishes.reading.series))
    opener = opener if found.ignored is None else ignoring(opener, found.ignored)
    if not found.items:
        raise DataError(f"{folder} must hold cases, it holds none ({found.description})")
    form = read_headers(found.items, opener)
    answers: Answers
    if task == "segmentation":
        named, known = labels or found.map_labels or None, bool(found.map_labels)
        answers, present = read_label_maps(found.items, form, named, scanned=scanned_maps, opener=opener, known=known)
    elif task == "regression":
        answers, present = numbers_of(found, labels), {}
    else:
        answers = class_names(found, labels, order, said)
        present = {item.name: answers.present(item) for item in found.items}
    items = _split(folder, task, found, answers, present)
    channels = wishes.channels_of(folder, form)
    return Dataset(
        splits=to_splits(items, lambda item: _in_regions(_sample(item, form, channels, answers, opener), found)),
        labels=tuple(found.regions) or answers.names,
        channels=channels,
        dimensions=form.dimensions,
        digest=digest([data_digest(folder, items), *_in_digest(items, answers, found), *wishes.in_digest]),
        layout=f"The folder was read as {found.description}: {len(items)} cases, {form.dimensions}D.",
        multilabel=task != "regression" and bool(found.label_names or form.map_labels or found.regions),
        value_range=form.value_range,
        sizes=form.sizes,
        has_affine=form.has_affine,
        remarks=(*_remarks(folder, found, answers, present), *wishes.remarks(folder, form)),
        pictures=form.pictures,
        reading=replace(
            wishes.reading,
            value_range=form.value_range,
            files=len(form.channels),
            suffixes=common_suffixes([[source.path for source in item.images] for item in found.items]),
            repeat=channels > sum(form.channels),
        ),
    )


def _in_digest(items: Sequence[Item], answers: Answers, found: Found) -> list[Any]:
    """What makes other references of the same files: the classes of the cases, and regions where there are any."""
    classes: list[Any] = []
    if not isinstance(answers, LabelMaps):
        classes = [[item.name, answers.answer(item).tolist()] for item in sorted(items, key=lambda item: item.name)]
    return [classes, *([sorted(found.regions.items())] if found.regions else [])]


def _split(
    folder: Path, task: Task, found: Found, answers: Answers, present: Mapping[str, frozenset[int]]
) -> list[Item]:
    """The cases with their splits. Raises DataError for a class or label that is missing in one, or is too rare."""
    if isinstance(answers, Numbers):
        return split_items(folder, found.items, lambda items: [], draw_val=True, draw_unseen=found.draw_unseen)
    judged: tuple[SplitName, ...] = JUDGED if task == "segmentation" else ("train", *JUDGED)
    wanted = None if isinstance(answers, LabelMaps) else frozenset(range(len(answers.names)))
    groups = {item.name: item.group for item in found.items}
    drawn, all_known = all(item.split is None for item in found.items), len(present) == len(found.items)
    if drawn and all_known and len(set(groups.values())) >= len(judged):
        raise_problems([f"{folder}: {text}" for text in rare_labels(answers.names, present, groups, judged, wanted)])

    def problems_of(items: Sequence[Item]) -> list[str]:
        cases = {split: [item.name for item in items if item.split == split] for split in judged}
        return [f"{folder}: {text}" for text in absent_labels(answers.names, present, cases, wanted)]

    return split_items(folder, found.items, problems_of, draw_val=True, draw_unseen=found.draw_unseen)


def _remarks(folder: Path, found: Found, answers: Answers, present: Mapping[str, frozenset[int]]) -> tuple[str, ...]:
    """What the user should know of how the folder was read."""
    remarks = list(found.remarks)
    if lacks_val(found.items):
        remarks.append(
            f"{folder}: no case is in val, so it was drawn from train, whole patients: a model that was trained on all "
            "of train has seen these cases"
        )
    if isinstance(answers, LabelMaps):
        remarks += answers.remarks
        empty = sum(not labels - ({0} if answers.form.map_labels is None else set()) for labels in present.values())
        if empty:
            remarks.append(
                f"{folder}: {empty} of the {len(present)} label maps that were looked at have no label at all"
            )
    return tuple(remarks)


def _in_regions(sample: Sample, found: Found) -> Sample:
    """The case with a layer of 0 and 1 for each region in place of its label map; what is unknown is so in all."""
    if not found.regions:
        return sample
    layers = [np.isin(sample.reference, values) for values in found.regions.values()]
    reference = np.stack(layers, axis=-1).astype(np.uint8)
    reference[sample.reference == IGNORED] = IGNORED
    return replace(sample, reference=reference)


def _sample(item: Item, form: CaseFormat, channels: int, answers: Answers, opener: Opener) -> Sample:
    """A case: its image files side by side as channels, its reference, and the affine of the first file with one."""
    parts, affine = [], None
    for source, own in zip(item.images, form.channels, strict=True):
        file = opener(source)
        parts.append(with_channels(file.read(), form.dimensions, own))
        affine = file.affine if affine is None else affine
    image = with_channels(np.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0], form.dimensions, channels)
    if not isinstance(answers, LabelMaps):
        return Sample(image, answers.answer(item), affine)
    return Sample(image, answers.read(cast(Source, item.label)), affine)

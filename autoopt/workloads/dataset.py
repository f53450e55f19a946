"""Anyone's data folder, read by what it looks like. Exactly one of these layouts must fit:

| layout | segmentation | classification |
| --- | --- | --- |
| table | a CSV with `Channel_0`, `Channel_1`, ... and `Label`, paths beside it (GaNDLF) | `Channel_0` and a class |
| pairs | images/NAME.* and masks/NAME.*, optionally manifest.csv with `name` | |
| classes | | CLASS/NAME.*, or train/CLASS/NAME.*, val/..., test/... |
| arrays | NAME.npz with `image` and `label`; or one npz with `images` and `labels` (cases first) | the same |

The class of a table is in `Label` or `ValueToPredict`; columns `Label_NAME` of 0 / 1 are several labels at once.
Files are pictures, NIfTI (.nii, .nii.gz) or .npy. A table or manifest may have a group (`SubjectID`, `patient`, `case`,
`group`) and a split (`split`: train, val, test, calibration); an npz with all cases `groups` and `splits`. Without a
group every case is one of its own; without splits whole groups are split 70 / 15 / 15.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from autoopt.errors import BadData, DataError
from autoopt.workload import IGNORED, Case, Sample, SplitName, Splits, Task
from autoopt.workloads.arrays import Source, problems_of, read_image, read_labels
from autoopt.workloads.layouts import Found, Item, find_items
from autoopt.workloads.table import Row, assign_splits, build_splits, data_digest, finish_rows, raise_problems
from autoopt.workloads.volumes import check_same_grid

SCANNED_MASKS = 200
"""So many label maps are looked at for the labels there are."""
LOOKED_AT = 8


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


def read_dataset(folder: Path, task: Task, labels: Sequence[str] | None = None) -> Dataset:
    """The cases in `folder`. Raises DataError with everything that is wrong with its names, tables and headers.

    `labels` are the names of the classes; without them they are the class folders, or background, label_1, ... for
    the values that the label maps have.
    """
    if not folder.is_dir():
        raise DataError(f"the data folder must be a folder, {folder} is {'a file' if folder.exists() else 'not there'}")
    found = find_items(folder, task)
    problems = [text for path in sorted({source.path for item in found.items for source in _files(item)})
                if path.suffix != ".npz" for text in problems_of(path)]  # fmt: skip
    raise_problems(problems)
    rows = _rows(folder, found.items)
    names, known = _labels(found, task, labels)
    by_name = {item.name: item for item in found.items}

    def case(row: Row) -> Case:
        item = by_name[row.name]
        return Case(row.name, row.group, lambda: _sample(item, task, known), row.tags)

    splits = build_splits(rows, case)
    raise_problems(_class_problems(folder, task, names, rows, by_name, known))
    first = _first_samples(splits)
    channels = {sample.image.shape[-1] for sample in first}
    dimensions = {sample.image.ndim - 1 for sample in first}
    if len(channels) != 1 or len(dimensions) != 1 or dimensions - {2, 3}:
        shapes = ", ".join(sorted({str(sample.image.shape) for sample in first}))
        raise DataError(f"{folder}: all images must be 2D or 3D with one number of channels, some are {shapes}")
    dtype = first[0].image.dtype
    return Dataset(
        splits=splits,
        labels=names,
        channels=channels.pop(),
        dimensions=dimensions.pop(),
        digest=data_digest(folder, rows, lambda row: sorted({item.path for item in _files(by_name[row.name])})),
        layout=found.description,
        multilabel=found.multilabel or (task == "segmentation" and first[0].reference.ndim > first[0].image.ndim - 1),
        value_range={"uint8": 255.0, "uint16": 65535.0}.get(dtype.name, 1.0),
        sizes=tuple(sorted({sample.image.shape[:-1] for sample in first})),
        has_affine=all(sample.affine is not None for sample in first),
    )


def _files(item: Item) -> list[Source]:
    return [*item.images, *([item.label] if isinstance(item.label, Source) else [])]


def _rows(folder: Path, items: Sequence[Item]) -> list[Row]:
    given = {item.split for item in items}
    if None in given and len(given) > 1:
        missing = next(item.name for item in items if item.split is None)
        raise DataError(f"{folder}: every case must have a split or none, {missing} has none")
    groups = len({item.group for item in items})
    if None in given and groups < 3:
        raise DataError(
            f"{folder} must have cases of at least three patients to be split into train, val and test, "
            f"it has {len(items)} of {groups}: add some, or give the splits in a table"
        )
    drawn: dict[str, SplitName] = {}
    for part in _strata(items) if None in given else ():
        drawn |= assign_splits([(item.name, item.group) for item in part])
    rows = [Row(item.name, item.group, item.split or drawn[item.name], item.tags) for item in items]
    return finish_rows(folder, rows)


def _strata(items: Sequence[Item]) -> list[list[Item]]:
    """The cases of each class, split by themselves so that no split lacks one; all together where that cannot be."""
    classes: dict[object, list[Item]] = {}
    for item in items:
        classes.setdefault(item.label if isinstance(item.label, str) else None, []).append(item)
    groups = [{item.group for item in part} for part in classes.values()]
    mixed = sum(len(part) for part in groups) > len(set().union(*groups))
    return [list(items)] if mixed or min(len(part) for part in groups) < 3 else list(classes.values())


def _labels(found: Found, task: Task, wanted: Sequence[str] | None) -> tuple[tuple[str, ...], dict[object, int]]:
    """The names of the labels, and for a class of the table its number."""
    if task == "classification" and not found.multilabel:
        classes = sorted({item.label for item in found.items}, key=_by_number)
        names = tuple(str(item) for item in classes)
        if wanted is not None and set(names) <= set(wanted):  # the order that was asked for
            return tuple(wanted), {item: list(wanted).index(str(item)) for item in classes}
        if wanted is not None and len(wanted) != len(names):
            raise DataError(f"--option labels must name the {len(names)} classes {', '.join(names)}, got {wanted}")
        return tuple(wanted or names), {item: number for number, item in enumerate(classes)}
    if found.names:
        return tuple(wanted or found.names), {}
    values, layers = set[int](), 0
    for item in found.items[:SCANNED_MASKS]:
        assert isinstance(item.label, Source)
        mask, _ = read_labels(item.label)
        image, _ = read_image(item.images[0])
        if mask.ndim == image.ndim and mask.shape[-1] > 1 and mask.max() <= 1 and mask.shape[:-1] == image.shape[:-1]:
            layers = max(layers, mask.shape[-1])
        values |= {int(value) for value in np.unique(mask) if value != IGNORED}
    count = layers or max(values, default=0) + 1
    if wanted is not None and len(wanted) < count:
        raise DataError(f"--option labels must name the {count} labels that the masks have, got {', '.join(wanted)}")
    if count < 2:
        raise DataError("the label maps must have a foreground (values above 0), they have none")
    return tuple(wanted or [f"label_{index}" if index or layers else "background" for index in range(count)]), {}


def _by_number(label: object) -> tuple[int, float, str]:
    text = str(label)
    return (0, float(text), text) if text.replace(".", "", 1).isdigit() else (1, 0.0, text)


def _class_problems(
    folder: Path, task: Task, names: tuple[str, ...], rows: Sequence[Row], items: dict[str, Item],
    known: dict[object, int],
) -> list[str]:  # fmt: skip
    if task != "classification" or not known:
        return []
    splits: tuple[SplitName, ...] = ("train", "val", "test")
    return [
        f"{folder}: {split} must have cases of every class, it has none of {name}"
        for split in splits
        for number, name in enumerate(names)
        if all(known[items[row.name].label] != number for row in rows if row.split == split)
    ]


def _first_samples(splits: Splits) -> list[Sample]:
    return [case.read() for case in (splits.train[:LOOKED_AT] or ()) + splits.val[:2]]


def _sample(item: Item, task: Task, known: dict[object, int]) -> Sample:
    parts = [read_image(source) for source in item.images]
    image, affine = parts[0]
    for source, (other, other_affine) in zip(item.images[1:], parts[1:], strict=True):
        if affine is not None and other_affine is not None:
            check_same_grid(item.images[0].path, image.shape, affine, source.path, other.shape, other_affine)
    image = _with_channels(item, [array for array, _ in parts])
    if task == "classification":
        return Sample(image, np.array(item.label if isinstance(item.label, tuple) else known[item.label]), affine)
    assert isinstance(item.label, Source)
    mask, mask_affine = read_labels(item.label)
    if affine is not None and mask_affine is not None:
        check_same_grid(item.images[0].path, image.shape[:-1], affine, item.label.path, mask.shape, mask_affine)
    if mask.shape[: image.ndim - 1] != image.shape[:-1]:
        raise BadData(
            f"{item.label.path} must be as large as its image {item.images[0].path}, {image.shape[:-1]}, "
            f"it is {mask.shape}"
        )
    return Sample(image, mask, affine)


def _with_channels(item: Item, arrays: list[np.ndarray]) -> np.ndarray:
    """The files of one case as channels of one image, (*spatial, channels)."""
    spatial = item.dimensions
    parts = [array[..., np.newaxis] if (spatial is None and array.ndim == 2) or array.ndim == spatial else array
             for array in arrays]  # fmt: skip
    if all(suffix.path.name.endswith((".nii", ".nii.gz")) for suffix in item.images):
        parts = [array[..., np.newaxis] for array in arrays]
    if len({part.shape[:-1] for part in parts}) > 1:
        shapes = ", ".join(str(part.shape) for part in parts)
        raise BadData(f"the channels of {item.name} must have one shape, they have {shapes}: {item.images[0].path}")
    return np.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]

"""Label maps in whatever file: their numbers as stored, the labels that a data folder has, checked maps of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from autoopt.errors import BadData, DataError
from autoopt.workloads.contract import IGNORED, SplitName
from autoopt.workloads.data.layouts.archives import read_array
from autoopt.workloads.data.layouts.headers import Geometry
from autoopt.workloads.data.layouts.items import PICTURES, VOLUMES, Item, Source, suffix_of
from autoopt.workloads.data.pictures import read_index_mask
from autoopt.workloads.data.volumes import read_volume

SCANNED_MAPS = 200
SCANNED_VOXELS = 200_000_000
"""So many label maps, and voxels of them, are looked at for the labels there are: a folder is read by every process."""
MOST_VALUES = 8


@dataclass(frozen=True)
class LabelMaps:
    """How the label maps of a folder are read: `binary` ones hold 0 and 255, else 255 is `IGNORED`."""

    names: tuple[str, ...]
    geometry: Geometry
    binary: bool

    def read(self, source: Source) -> np.ndarray:
        """The map, uint8, (*spatial) or (*spatial, labels). Raises BadData for other values than the labels."""
        values, layers = _stored(source, self.geometry), self.geometry.layers
        allowed = {0, 255} if self.binary else {0, 1} if layers else {*range(len(self.names)), IGNORED}
        wrong = sorted(_values(values) - allowed)
        if wrong:
            what = "0 and 255" if self.binary else "0 and 1" if layers else f"0 to {len(self.names) - 1}"
            raise BadData(
                f"{source} must hold {what} as other masks do, it holds {_listed(wrong)}: name all labels with "
                "--option labels, or correct the file"
            )
        return (values // 255 if self.binary else values).astype(np.uint8)


def read_label_maps(
    items: Sequence[Item], geometry: Geometry, wanted: Sequence[str] | None
) -> tuple[LabelMaps, dict[str, frozenset[int]]]:
    """How to read the maps, and of the cases that were looked at which labels they have.

    Raises DataError for maps that cannot be read, have other values than 0, 1, ... (or 0 and 255), or more labels than
    `wanted` names.
    """
    looked_at, problems = _scan(items, geometry)
    if problems:
        raise DataError(*problems)
    maps = {item.name: item.label for item in items}
    owner = {value: maps[name] for name, (values, _) in reversed(looked_at.items()) for value in values}
    present = {name: labels for name, (_, labels) in looked_at.items()}
    values, layers = set(owner), geometry.layers
    binary = 255 in values and values <= {0, 255}
    wrong = sorted(values - ({0, 255} if binary else {0, 1} if layers else {*range(IGNORED + 1)}))
    if wrong:
        allowed = "0 and 1, one axis for each label" if layers else f"labels from 0 to {IGNORED - 1}"
        raise DataError(f"{owner[wrong[0]]} must hold {allowed}, it holds {_listed(wrong)}")
    if binary:
        present = {
            name: frozenset(value // 255 for value in labels) if not layers else labels
            for name, labels in present.items()
        }
    numbers = set().union(*present.values()) - (set() if layers or binary else {IGNORED})
    present = {name: labels & numbers for name, labels in present.items()}
    count = layers or max(numbers, default=0) + 1
    if count < 2 or not numbers:
        raise DataError("label maps must have a foreground (values above 0), those that were looked at have none")
    if wanted is not None and (len(wanted) < count or (layers and len(wanted) != count)):
        raise DataError(f"--option labels must name the {count} labels that the masks have, got {', '.join(wanted)}")
    gaps = sorted(set(range(1, count)) - numbers) if wanted is None and not layers else []
    if gaps:
        raise DataError(
            f"masks must hold the labels 0, 1, 2, ... without a gap; {owner[count - 1]} holds {count - 1}, none holds "
            f"{_listed(gaps)}: renumber them, or name all labels with --option labels"
        )
    names = tuple(wanted or [f"label_{index}" if index or layers else "background" for index in range(count)])
    return LabelMaps(names, geometry, binary), present


def absent_labels(
    names: Sequence[str],
    present: Mapping[str, frozenset[int]],
    splits: Mapping[SplitName, Sequence[str]],
    wanted: frozenset[int] | None = None,
) -> list[str]:
    """Labels that no case of a split has, as sentences; `wanted` are those that any case has, by default.

    `present` says which labels a case has; a split is judged when that is known of all its cases.
    """
    needed = frozenset().union(*present.values()) if wanted is None else wanted
    return [
        f"{split} must have cases of every class and label, it has none of {names[number]}: add some or give splits"
        for split, cases in splits.items()
        if cases and all(case in present for case in cases)
        for number in sorted(needed - frozenset().union(*(present[case] for case in cases)))
    ]


def _scan(
    items: Sequence[Item], geometry: Geometry
) -> tuple[dict[str, tuple[frozenset[int], frozenset[int]]], list[str]]:
    """The values and the labels of maps, evenly chosen; and what cannot be read."""
    step = max(1, math.ceil(len(items) / SCANNED_MAPS))
    found: dict[str, tuple[frozenset[int], frozenset[int]]] = {}
    problems, voxels = [], 0
    for item in items[::step]:
        try:
            stored = _stored(cast(Source, item.label), geometry)
        except BadData as error:
            problems.append(error.message)
            continue
        values = frozenset(_values(stored))
        flat = stored.reshape(-1, geometry.layers) if geometry.layers else None
        found[item.name] = values, values if flat is None else frozenset(np.flatnonzero(flat.any(axis=0)).tolist())
        voxels += stored.size
        if voxels > SCANNED_VOXELS:
            break
    return found, problems


def _stored(source: Source, geometry: Geometry) -> np.ndarray:
    """The whole numbers of a file, without an axis of one label at the end."""
    suffix = suffix_of(source.path) if source.key is None else ""
    if suffix in PICTURES:
        values = read_index_mask(source.path)
    elif suffix in VOLUMES:
        values = read_volume(source.path)[0]
    else:
        values = read_array(source)
    if values.dtype.kind == "f" and not (np.isfinite(values).all() and np.array_equal(values, np.rint(values))):
        raise BadData(f"{source} must hold whole numbers, the labels; some are not")
    return values if geometry.layers or values.ndim == geometry.dimensions else values[..., 0]


def _values(values: np.ndarray) -> set[int]:
    return {int(value) for value in np.unique(values)}


def _listed(values: Sequence[int]) -> str:
    more = f" and {len(values) - MOST_VALUES} more" if len(values) > MOST_VALUES else ""
    return ", ".join(map(str, values[:MOST_VALUES])) + more

"""Label maps of a data folder: which labels they have, and each of them as a checked map of these labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from autoopt.errors import BadData, DataError
from autoopt.workloads.contract import IGNORED, SplitName
from autoopt.workloads.data.cases import Item, raise_problems
from autoopt.workloads.data.headers import CaseFormat
from autoopt.workloads.data.image_file import ImageFile, Source
from autoopt.workloads.data.readers import Opener, open_image

SCANNED_MAPS = 200
SCANNED_VOXELS = 200_000_000
"""At most so many label maps, and voxels of them, are read to learn the labels: every process reads the folder anew."""
MOST_VALUES = 8
ROUNDING, NO_ROUNDING = 0.005, 1e-4
"""Labels so far from whole numbers are rounded: more than a step of the 8 bits in which files scale a label of 1. Up
to the second nothing is said of it: so far single precision is off."""
RESCALE = "divide the masks with 255 by 255, or multiply the others by it"
SOFT_VALUES, SOFT_LARGEST = 8, 100
SOFT_TOP, SOFT_SHARE = 0.9, 0.25
"""A mask of at least so many values up to at least so large a one has soft edges, if this share of what is above 0 has
at least `SOFT_TOP` of the largest value, the most frequent value too."""


@dataclass(frozen=True)
class LabelMaps:
    """How the label maps of a folder are read: `binary` ones hold 0 and 255; in others 255 is `IGNORED`.

    `unknown` says that 255 is known to mean that: a map has it beside labels, or there are more than two. `remarks` are
    sentences on what was understood without being asked.
    """

    names: tuple[str, ...]
    form: CaseFormat
    binary: bool
    opener: Opener = open_image
    unknown: bool = True
    remarks: tuple[str, ...] = ()

    def read(self, source: Source) -> np.ndarray:
        """The map, uint8, (*spatial) or (*spatial, labels). Raises BadData for other values than the labels."""
        values, multilabel = _stored(source, self.form, self.opener), self.form.map_labels is not None
        allowed = {0, 255} if self.binary else {0, 1} if multilabel else {*range(len(self.names)), IGNORED}
        here = _values(values)
        wrong = sorted(here - allowed)
        if not (wrong or self.binary or self.unknown or multilabel) and IGNORED in here and not here - {0, IGNORED}:
            raise BadData(f"{source} must hold 0 and 1 as other masks do, it holds 0 and 255: {RESCALE}")
        if wrong:
            what = "0 and 255" if self.binary else "0 and 1" if multilabel else f"0 to {len(self.names) - 1}"
            raise BadData(
                f"{source} must hold {what} as other masks do, it holds {_listed(wrong)}: name all labels with "
                "--option labels, or correct the file"
            )
        return (values // 255 if self.binary else values).astype(np.uint8)


def read_label_maps(
    items: Sequence[Item],
    form: CaseFormat,
    wanted: Sequence[str] | None,
    *,
    scanned: int = SCANNED_MAPS,
    opener: Opener = open_image,
    known: bool = False,
) -> tuple[LabelMaps, dict[str, frozenset[int]]]:
    """How to read the maps, and for each case that was looked at, at most `scanned`, the labels that it has.

    Where maps name their labels, these are the labels, matched by name. With `known` values are the numbers of labels,
    and 255 is `IGNORED`, whatever the maps hold that were looked at. Raises DataError for maps that cannot be read,
    have other values than 0, 1, ... (or 0 and 255), or more labels than `wanted` names.
    """
    remarks: list[str] = []
    form = replace(form, segments=form.segments.ordered(wanted))
    wanted = ("background", *form.segments.names) if form.segments and wanted is None else wanted
    looked_at, problems = _scan(items, form, scanned, opener, remarks)
    raise_problems(problems)
    maps = {item.name: item.label for item in items}
    owner = {value: maps[name] for name, (values, _) in reversed(looked_at.items()) for value in values}
    present = {name: labels for name, (_, labels) in looked_at.items()}
    values, multilabel = set(owner), form.map_labels is not None
    binary = 255 in values and values <= {0, 255} and not known
    unknown = known or bool(values - {0, 1, IGNORED}) or any({1, IGNORED} <= held for held, _ in looked_at.values())
    if not unknown and not multilabel and {1, IGNORED} <= values:
        raise DataError(
            f"all masks must have one scale, {owner[1]} holds 0 and 1, {owner[IGNORED]} holds 0 and 255: {RESCALE}"
        )
    wrong = sorted(values - ({0, 255} if binary else {0, 1} if multilabel else {*range(IGNORED + 1)}))
    if wrong:
        allowed = "0 and 1, one axis for each label" if multilabel else f"labels from 0 to {IGNORED - 1}"
        raise DataError(f"{owner[wrong[0]]} must hold {allowed}, it holds {_listed(wrong)}")
    if binary and not multilabel:
        present = {name: frozenset(value // 255 for value in labels) for name, labels in present.items()}
    numbers = set().union(*present.values()) - (set() if multilabel or binary else {IGNORED})
    present = {name: labels & numbers for name, labels in present.items()}
    names = _names(numbers, form.map_labels, wanted, {value: str(source) for value, source in owner.items()})
    return LabelMaps(names, form, binary, opener, unknown, tuple(remarks)), present


def _names(
    numbers: set[int], map_labels: int | None, wanted: Sequence[str] | None, owner: Mapping[int, str]
) -> tuple[str, ...]:
    """The names of the labels: those that are wanted, if they fit the numbers that the maps have, else made-up ones."""
    count = map_labels or max(numbers, default=0) + 1
    if count < 2 or not numbers:
        raise DataError("label maps must have a foreground (values above 0), those that were looked at have none")
    if wanted is not None and (len(wanted) < count or (map_labels and len(wanted) != count)):
        raise DataError(f"--option labels must name the {count} labels that the masks have, got {', '.join(wanted)}")
    gaps = sorted(set(range(1, count)) - numbers) if wanted is None and not map_labels else []
    if gaps:
        raise DataError(
            f"masks must hold the labels 0, 1, 2, ... without a gap; {owner[count - 1]} holds {count - 1}, none holds "
            f"{_listed(gaps)}: renumber them, or name all labels with --option labels"
        )
    return tuple(wanted or [f"label_{index}" if index or map_labels else "background" for index in range(count)])


def ignoring(opener: Opener, ignored: int) -> Opener:
    """The opener, whose label maps have `IGNORED` where those of the files have the value `ignored`."""

    def opened(source: Source) -> ImageFile:
        file = opener(source)
        return replace(file, read_labels=lambda: _replaced(file.labels(), ignored))

    return opened


def _replaced(values: np.ndarray, ignored: int) -> np.ndarray:
    wide = values.astype(np.int16) if values.dtype == np.int8 else values
    return np.where(wide == ignored, np.asarray(IGNORED, wide.dtype), wide)


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


def rare_labels(
    names: Sequence[str],
    present: Mapping[str, frozenset[int]],
    groups: Mapping[str, str],
    splits: Sequence[SplitName],
    wanted: frozenset[int] | None = None,
) -> list[str]:
    """Labels that fewer patients have than there are splits that need them, as sentences.

    `present` says which labels a case has, `groups` which patient it is of; `wanted` are those that any case has, by
    default.
    """
    needed = frozenset().union(*present.values()) if wanted is None else wanted
    problems = []
    for number in sorted(needed):
        cases = [case for case, labels in present.items() if number in labels]
        patients = len({groups[case] for case in cases})
        if patients < len(splits):
            problems.append(
                f"{names[number]} must be in cases of at least {len(splits)} patients, one each for "
                f"{', '.join(splits)}, it has {len(cases)} case(s) of {patients} patient(s): add cases of it from "
                "other patients, join it with another class, or leave it out"
            )
    return problems


def _soft_edges(source: Source, stored: np.ndarray) -> str | None:
    """That a mask has soft edges, as a sentence: most of its foreground has one large value, and many lie between."""
    if stored.dtype.kind not in "ui" or stored.size == 0:
        return None
    values, counts = np.unique(stored, return_counts=True)
    largest, above = values[-1], values > 0
    if values.size < SOFT_VALUES or largest < SOFT_LARGEST or values[0] < 0:
        return None
    usual, top = values[above][counts[above].argmax()], values >= SOFT_TOP * largest
    if usual < SOFT_TOP * largest or counts[top].sum() < SOFT_SHARE * counts[above].sum():
        return None
    between = counts[above & (values < usual)].sum() / stored.size
    return (
        f"{source} must hold one value for each label, it has soft edges: {values.size} values from {values[0]} to "
        f"{largest}, {100 * between:.1f} % of the pixels between 0 and {usual}, as interpolation or lossy compression "
        f"leaves them; store it as 0 and 255 (above {largest // 2} is 255), or resize masks to the nearest neighbour"
    )


def _scan(
    items: Sequence[Item], form: CaseFormat, scanned: int, opener: Opener, remarks: list[str]
) -> tuple[dict[str, tuple[frozenset[int], frozenset[int]]], list[str]]:
    """The values and the labels of maps, evenly chosen; and what cannot be read. What was rounded joins `remarks`."""
    step = max(1, math.ceil(len(items) / scanned))
    found: dict[str, tuple[frozenset[int], frozenset[int]]] = {}
    problems: list[str] = []
    soft: list[str] = []
    rounded: list[str] = []
    voxels = 0
    for item in items[::step]:
        try:
            stored = _stored(cast(Source, item.label), form, opener, rounded)
        except BadData as error:
            problems.append(error.message)
            continue
        soft += filter(None, [_soft_edges(cast(Source, item.label), stored)])
        values = frozenset(_values(stored))
        flat = stored.reshape(-1, form.map_labels) if form.map_labels else None
        found[item.name] = values, values if flat is None else frozenset(np.flatnonzero(flat.any(axis=0)).tolist())
        voxels += stored.size
        if voxels > SCANNED_VOXELS:
            break
    remarks += [
        f"{text}, rounded; so are those of {len(rounded) - 1} more maps that were looked at" for text in rounded[:1]
    ]
    more = f"; so have {len(soft) - 1} more of the {len(found)} masks that were looked at" if len(soft) > 1 else ""
    return found, [*problems, *(text + more for text in soft[:1])]


def _stored(source: Source, form: CaseFormat, opener: Opener, rounded: list[str] | None = None) -> np.ndarray:
    """The whole numbers of a file, without an axis of one label at the end; that some were not joins `rounded`."""
    file = opener(source)
    values = file.labels()
    if values.dtype.kind == "f":
        whole = np.rint(values)
        away = np.abs(values - whole)
        odd = values.flat[away.argmax()] if away.size else 0.0
        if away.max(initial=0) > ROUNDING:
            soft = values.min() >= 0 and values.max() <= 1
            more = ", as probabilities or soft edges are: store 1 where it is above 0.5, else 0" if soft else ""
            raise BadData(f"{source} must hold whole numbers, the labels; some are not, such as {odd:.6g}{more}")
        if away.max(initial=0) > NO_ROUNDING and rounded is not None:
            rounded.append(f"{source} holds labels that are not whole, such as {odd:.6g}")
        values = whole
    values = values if form.map_labels or values.ndim == form.dimensions else values[..., 0]
    return form.segments.by_name(source, values, file.label_names)


def _values(values: np.ndarray) -> set[int]:
    return {int(value) for value in np.unique(values)}


def _listed(values: Sequence[int]) -> str:
    more = f" and {len(values) - MOST_VALUES} more" if len(values) > MOST_VALUES else ""
    return ", ".join(map(str, values[:MOST_VALUES])) + more

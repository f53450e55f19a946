"""Labels by name: files that say what their values mean, such as DICOM-SEG and .seg.nrrd, are matched by these names.

Programs number segments file by file: the value 1 may be the liver in one and the tumour in the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autoopt.core.plain_text import short
from autoopt.errors import BadData, DataError
from autoopt.workloads.data.image_file import Source

Named = Sequence[tuple[Source, Mapping[int, str] | None]]
"""Label maps and what each says of its values, None where it says nothing."""


@dataclass(frozen=True)
class SegmentNames:
    """The names of all segments of a folder, in the order of their labels 1, 2, ...; which file has each first."""

    names: tuple[str, ...] = ()
    first: tuple[Source, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.names)

    def ordered(self, wanted: Sequence[str] | None) -> SegmentNames:
        """The names in the order that the user wants, the background first. Raises DataError for one that he lacks."""
        if not self or wanted is None:
            return self
        for name, source in zip(self.names, self.first, strict=True):
            if _plain(name) not in map(_plain, wanted[1:]):
                raise DataError(
                    f"{source} has the segment {short(name)}, which --option labels must name behind the background, "
                    f"it names {', '.join(wanted)}"
                )
        return SegmentNames(tuple(wanted[1:]), self.first)

    def by_name(self, source: Source, values: np.ndarray, own: Mapping[int, str] | None) -> np.ndarray:
        """The values of a file as labels of these names. Raises BadData for a value that the file does not name."""
        if not self:
            return values
        place = {_plain(name): label for label, name in enumerate(self.names, start=1)}
        found = np.zeros(values.shape, np.int64)
        for value in np.unique(values):
            name = _plain((own or {}).get(int(value), ""))
            if value and name not in place:
                raise BadData(f"{source} must name each of its labels, it holds {value:g} and does not name it")
            if value:
                found[values == value] = place[name]
        return found


NO_NAMES = SegmentNames()
"""Of label maps that do not say what their values mean."""


def segment_names(maps: Named) -> SegmentNames:
    """The names that label maps give their values, in the order of these where all files agree, else as they come.

    Raises DataError where some files name their labels and others do not: which is which could not be told.
    """
    with_names = [(source, own) for source, own in maps if own]
    without = next((source for source, own in maps if not own), None)
    if not with_names:
        return NO_NAMES
    if without is not None:
        raise DataError(f"{without} must name its labels as {with_names[0][0]} does: save all label maps in one format")
    values: dict[str, set[int]] = {}
    names, first = dict[str, str](), dict[str, Source]()
    for source, own in with_names:
        for value, name in sorted(own.items()):
            values.setdefault(_plain(name), set()).add(value)
            names.setdefault(_plain(name), name)
            first.setdefault(_plain(name), source)
    taken = [value for several in values.values() for value in several]
    agreed = all(len(several) == 1 for several in values.values()) and len(set(taken)) == len(taken)
    keys = sorted(values, key=lambda key: min(values[key])) if agreed else list(values)
    return SegmentNames(tuple(names[key] for key in keys), tuple(first[key] for key in keys))


def _plain(name: str) -> str:
    return name.strip().casefold()

"""What the dataset.json of nnU-Net says: channels, labels or regions, the label that is not scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autoopt.core.plain_text import parse_json, read_bounded, short
from autoopt.errors import DataError

DATASET = "dataset.json"
BACKGROUND, IGNORE = "background", "ignore"
MOST_LABELS = 254
"""Label maps have 8 bits, and 255 is what nobody labelled."""


@dataclass(frozen=True)
class DatasetFacts:
    """The content of a dataset.json.

    `labels` are the names of the values of label maps, in order, from 0. `regions` are the outputs of a model that
    answers with regions, in order, with the values that each covers, and `paint` the value that each of them is drawn
    with, one over the other; both are empty where every output is a label. `ignored` is the value that is not scored.
    """

    channels: tuple[str, ...]
    labels: tuple[str, ...]
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    paint: tuple[int, ...] = ()
    ignored: int | None = None
    ending: str = ""

    @property
    def outputs(self) -> int:
        """The number of channels of a network's answer."""
        return len(self.regions) or len(self.labels)


def read_dataset_json(path: Path) -> DatasetFacts:
    """What the file says. Raises DataError naming it."""
    try:
        return parse_dataset(read_bounded(path), str(path))
    except OSError as error:
        raise DataError(f"{path} must be readable: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} must be the {DATASET} of nnU-Net: {error}") from error


def parse_dataset(text: str | bytes, where: str) -> DatasetFacts:
    """What the text of a dataset.json says; `where` names it in messages. Raises DataError."""
    try:
        found = parse_json(text)
        if not isinstance(found, dict):
            raise ValueError(f"it must be a mapping, it is {short(found)}")
        return _facts(found)
    except ValueError as error:
        raise DataError(f"{where} must be the {DATASET} of nnU-Net v2: {str(error)[:300]}") from error


def _facts(found: Mapping[str, Any]) -> DatasetFacts:
    ending = found.get("file_ending", "")
    if not isinstance(ending, str):
        raise ValueError(f"file_ending must be a text such as .nii.gz, it is {short(ending)}")
    named = found.get("labels")
    if not isinstance(named, dict) or not named:
        raise ValueError(f"labels must be a mapping of names to numbers, it is {short(named)}")
    values = {str(name): _values(name, value) for name, value in named.items()}
    ignored = values.pop(IGNORE, None)
    if values.get(BACKGROUND) != (0,):
        raise ValueError(f"labels must say that {BACKGROUND} is 0, they say {short(named.get(BACKGROUND))}")
    numbers = sorted({number for part in values.values() for number in part})
    if numbers != list(range(len(numbers))) or len(numbers) > MOST_LABELS:
        raise ValueError(f"labels must be the numbers 0, 1, 2, ... without a gap, they are {short(numbers)}")
    if ignored not in (None, (len(numbers),)):
        raise ValueError(f"labels must give {IGNORE} the highest number, {len(numbers)}, it is {short(named[IGNORE])}")
    channels = _channels(found.get("channel_names") or found.get("modality"))
    left = ignored[0] if ignored else None
    if all(len(part) == 1 for part in values.values()):
        names = {part[0]: name for name, part in values.items()}
        if len(names) != len(values):
            raise ValueError(f"labels must give every name a number of its own, they are {short(named)}")
        return DatasetFacts(channels, tuple(names[number] for number in numbers), ignored=left, ending=ending)
    regions = {name: part for name, part in values.items() if set(part) != {0}}
    paint = _paint(found.get("regions_class_order"), len(regions), len(numbers))
    return DatasetFacts(channels, _map_names(regions, paint, len(numbers)), regions, paint, left, ending)


def _values(name: Any, value: Any) -> tuple[int, ...]:
    """The numbers of a label, or of a region that has several."""
    found = value if isinstance(value, list) else [value]
    if not found or not all(isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in found):
        raise ValueError(f"the label {short(name)} must be a number or a list of numbers, it is {short(value)}")
    return tuple(dict.fromkeys(found))


def _channels(named: Any) -> tuple[str, ...]:
    if not isinstance(named, dict) or not named or sorted(map(str, named)) != sorted(map(str, range(len(named)))):
        raise ValueError(f"channel_names must name the channels 0, 1, 2, ..., it is {short(named)}")
    return tuple(str(named[str(index)]) for index in range(len(named)))


def _paint(order: Any, regions: int, count: int) -> tuple[int, ...]:
    good = isinstance(order, list) and len(order) == regions
    if not good or not all(type(item) is int and 0 < item < count for item in order) or len(set(order)) < regions:
        raise ValueError(
            f"regions_class_order must have one label for each of the {regions} regions, it is {short(order)}"
        )
    return tuple(order)


def _map_names(regions: Mapping[str, tuple[int, ...]], paint: tuple[int, ...], count: int) -> tuple[str, ...]:
    """The names of the values of a label map: a region's where all of it has that value, else "REGION without OTHER".

    What is drawn with a value is what no region after it covers.
    """
    names = [BACKGROUND, *(f"label_{number}" for number in range(1, count))]
    for place, (region, number) in enumerate(zip(regions, paint, strict=True)):
        inner = [other for other in list(regions)[place + 1 :] if set(regions[other]) & set(regions[region])]
        names[number] = f"{region} without {' and '.join(inner)}" if inner else region
    return tuple(names)

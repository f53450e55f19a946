"""What the headers of all files say together: 1D, 2D or 3D, channels, sizes, whether masks fit their images.

An array may have an axis of channels at its end. Beside a label map this is seen by the number of axes; without one
(and where image and map have the same shape) a third axis of at most `MOST_CHANNELS` is taken for channels, a longer
one for the slices of a volume.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from autoopt.errors import BadData
from autoopt.workloads.data.cases import Item, raise_problems
from autoopt.workloads.data.image_file import ImageFile, Source
from autoopt.workloads.data.readers import Opener, open_image
from autoopt.workloads.data.segment_names import NO_NAMES, SegmentNames, segment_names
from autoopt.workloads.data.volumes import check_same_grid

MOST_CHANNELS = 4
MOST_SIZES = 8
MOST_AXES = 3


@dataclass(frozen=True)
class Header:
    """One image file that was opened, and where it lies."""

    source: Source
    file: ImageFile

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes as stored; see `ImageFile.shape`."""
        return self.file.shape


@dataclass(frozen=True)
class CaseFormat:
    """What all cases of a folder have in common.

    `channels` has the number of channels of each image file of a case. `map_labels` is the number of labels in the last
    axis of multilabel maps, None for plain label maps. `value_range` is what pixels are divided by unless something
    else is said. `sizes` are up to `MOST_SIZES` different spatial sizes. `pictures`: whether the image files are
    pictures, None where only some are. `segments`: what label maps call their labels, where they do.
    """

    dimensions: int
    channels: tuple[int, ...]
    map_labels: int | None
    value_range: float
    sizes: tuple[tuple[int, ...], ...]
    has_affine: bool
    pictures: bool | None
    segments: SegmentNames = NO_NAMES


@dataclass(frozen=True)
class _Case:
    """A case whose files were opened."""

    item: Item
    images: tuple[Header, ...]
    label: Header | None


def read_headers(items: Sequence[Item], opener: Opener = open_image) -> CaseFormat:
    """What the files of all cases have in common. Raises DataError with every file that cannot be read or differs."""
    problems: list[str] = []
    cases = _opened(items, opener, problems)
    raise_problems(problems)
    flat = all(
        len(head.shape) == 3 and head.shape[-1] <= MOST_CHANNELS
        for case in cases
        for head in case.images
        if head.file.channels is None
    )
    dimensions = [_dimensions(case, flat) for case in cases]
    for case, own in zip(cases, dimensions, strict=True):
        problems += _problems(case, own, cases[0], dimensions[0])
    raise_problems(problems)
    channels, problems = _common_channels(cases, dimensions[0])
    raise_problems(problems)
    sizes = list(dict.fromkeys(case.images[0].shape[: dimensions[0]] for case in cases))
    pictures = {head.file.is_picture for case in cases for head in case.images}
    return CaseFormat(
        dimensions=dimensions[0],
        channels=channels,
        map_labels=_map_labels(cases[0], dimensions[0]),
        value_range=cases[0].images[0].file.value_range,
        sizes=tuple(sorted(sizes[:MOST_SIZES])),
        has_affine=all(any(head.file.affine is not None for head in case.images) for case in cases),
        pictures=pictures.pop() if len(pictures) == 1 else None,
        segments=segment_names([(case.label.source, case.label.file.label_names) for case in cases if case.label]),
    )


def open_pair(item: Item, problems: list[str], opener: Opener = open_image) -> ImageFile | None:
    """The image of a case whose label map lies on its grid, both of at most three axes; what is wrong is said."""
    cases = _opened([item], opener, problems)
    if not cases:
        return None
    image, label = cases[0].images[0], cases[0].label
    many = [head for head in (image, label) if head is not None and len(head.shape) > MOST_AXES]
    faults = [f"{head.source} must hold one 3D volume, its shape is {head.shape}" for head in many]
    faults += [] if label is None or faults else _grid_problems(image, label, len(image.shape))
    problems += faults
    return None if faults else image.file


def _opened(items: Sequence[Item], opener: Opener, problems: list[str]) -> list[_Case]:
    """The cases all of whose files have a header that can be read; the others are said."""
    cases = []
    blocks: dict[tuple[Path, str | None], ImageFile] = {}  # cases of one array have one header: only that is used here
    for item in items:
        headers = []
        for source in item.sources:
            try:
                file = blocks.get((source.path, source.key)) if source.index is not None else None
                headers.append(Header(source, file or opener(source)))
                if source.index is not None:
                    blocks[source.path, source.key] = headers[-1].file
            except BadData as error:
                problems += [error.message] if error.message not in problems else []
        if len(headers) == len(item.sources):
            count = len(item.images)
            cases.append(_Case(item, tuple(headers[:count]), headers[count] if len(headers) > count else None))
    return cases


def _dimensions(case: _Case, flat: bool) -> int:
    """The number of spatial axes."""
    first, label = case.images[0], case.label
    for header in (*case.images, label):
        if header is not None and header.file.channels is not None:
            return len(header.shape)
    image = first.shape
    if label is None:
        return len(image) if len(image) < 3 else 2 if flat else 3
    last = label.shape[-1]
    if image == label.shape:
        return len(image) - 1 if len(image) == 4 or (len(image) == 3 and last <= MOST_CHANNELS) else len(image)
    if image == label.shape[:-1]:
        return len(image)
    both = image[:-1] == label.shape[:-1] and len(image) > 2 and min(image[-1], last) <= MOST_CHANNELS
    return len(image) - 1 if both else min(len(label.shape), 3)


def _problems(case: _Case, dimensions: int, other: _Case, other_dimensions: int) -> list[str]:
    first = next((image for image in case.images if image.file.affine is not None), case.images[0])
    problems: list[str] = []
    if dimensions != other_dimensions:
        return [f"{first.source} must be {other_dimensions}D as {other.images[0].source}, it is {dimensions}D"]
    usual = other.images[0]
    for image in case.images:
        if image.file.value_range != usual.file.value_range:
            problems.append(
                f"{image.source} must have pixels of the type that {usual.source} has: one is divided by "
                f"{image.file.value_range:g}, the other by {usual.file.value_range:g}"
            )
        problems += _grid_problems(first, image, dimensions)
    if case.label is not None:
        problems += _grid_problems(first, case.label, dimensions)
        if not problems and _map_labels(case, dimensions) != _map_labels(other, dimensions):
            problems.append(f"{case.label.source} must have as many labels in its last axis as {other.item.name} has")
    return problems


def _grid_problems(image: Header, other: Header, dimensions: int) -> list[str]:
    """Why a mask or a further channel does not lie on the grid of the image."""
    extra = len(other.shape) - dimensions
    sizes = "x".join(map(str, image.shape[:dimensions]))
    if extra not in (0, 1) or image.shape[:dimensions] != other.shape[:dimensions]:
        came = "x".join(map(str, other.shape))
        return [f"{other.source} must be as large as its image {image.source}, {sizes}, it is {came}"]
    one, two = image.file.affine, other.file.affine
    if one is not None and two is not None:
        try:
            paths = image.source.path, other.source.path
            check_same_grid(paths[0], image.shape[:dimensions], one, paths[1], other.shape[:dimensions], two)
        except BadData as error:
            return [error.message]
    return []


def _common_channels(cases: Sequence[_Case], dimensions: int) -> tuple[tuple[int, ...], list[str]]:
    """The number of channels of each image file of a case, and the files that have another number."""
    channels = [
        tuple(head.file.channels or (head.shape[-1] if len(head.shape) > dimensions else 1) for head in case.images)
        for case in cases
    ]
    pictures = all(head.file.is_picture for case in cases for head in case.images)
    common = tuple(
        max(column) if pictures else Counter(column).most_common(1)[0][0] for column in zip(*channels, strict=True)
    )
    problems = [
        f"{head.source} must have {want} channel(s) as others have, it has {have}"
        for case, own in zip(cases, channels, strict=True)
        for head, have, want in zip(case.images, own, common, strict=True)
        if have != want and not (head.file.is_picture and (have, want) == (1, 3))  # grey becomes colour
    ]
    return common, problems


def _map_labels(case: _Case, dimensions: int) -> int | None:
    """The labels in the last axis of a multilabel map; a single one is no more than a map."""
    if case.label is None or len(case.label.shape) == dimensions or case.label.shape[-1] == 1:
        return None
    return case.label.shape[-1]

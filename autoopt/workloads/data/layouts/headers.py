"""What the headers of all files say together: 2D or 3D, channels, sizes, whether masks fit their images.

An array may have an axis of channels at its end. Beside a label map that is seen by the number of axes; without one
(and where image and map have the same shape) a third axis of at most `MOST_CHANNELS` is taken for channels, a longer
one for the slices of a volume.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoopt.errors import BadData
from autoopt.workloads.data.layouts.archives import read_array_header
from autoopt.workloads.data.layouts.items import PICTURES, VOLUMES, Item, Source, suffix_of
from autoopt.workloads.data.pictures import read_picture_header
from autoopt.workloads.data.table import raise_problems
from autoopt.workloads.data.volumes import check_same_grid, header_problems, read_header

MOST_CHANNELS = 4
MOST_SIZES = 8
REAL = "buif"


@dataclass(frozen=True)
class Header:
    """One file. `shape` is spatial where the format says so, and `channels` known; else it may end with them."""

    source: Source
    shape: tuple[int, ...]
    channels: int | None
    value_range: float
    affine: np.ndarray | None = None


@dataclass(frozen=True)
class Geometry:
    """What holds for all cases.

    `files` is the number of channels of each image file of a case; `layers` that of several labels at once, at the end
    of a label map. `sizes` are the first spatial sizes that differ.
    """

    dimensions: int
    files: tuple[int, ...]
    layers: int | None
    value_range: float
    sizes: tuple[tuple[int, ...], ...]
    has_affine: bool


@dataclass(frozen=True)
class _Case:
    item: Item
    images: tuple[Header, ...]
    label: Header | None


def read_headers(items: Sequence[Item]) -> Geometry:
    """The geometry of all cases. Raises DataError with every file that cannot be read or differs."""
    problems: list[str] = []
    cases = []
    for item in items:
        headers = [_header(source, problems) for source in item.sources]
        whole = [header for header in headers if header is not None]
        if len(whole) == len(headers):
            count = len(item.images)
            cases.append(_Case(item, tuple(whole[:count]), whole[count] if len(whole) > count else None))
    raise_problems(problems)
    flat = all(
        len(head.shape) == 3 and head.shape[-1] <= MOST_CHANNELS
        for case in cases
        for head in case.images
        if head.channels is None
    )
    dimensions = [_dimensions(case, flat) for case in cases]
    for case, own in zip(cases, dimensions, strict=True):
        problems += _problems(case, own, cases[0], dimensions[0])
    raise_problems(problems)
    files = [_channels(case, dimensions[0]) for case in cases]
    wide = tuple(max(column) for column in zip(*files, strict=True))
    for case, own_files in zip(cases, files, strict=True):
        problems += [
            f"{head.source} must have {want} channel(s) as others have, it has {have}"
            for head, have, want in zip(case.images, own_files, wide, strict=True)
            if have != want and not (_is(head.source, PICTURES) and (have, want) == (1, 3))  # grey becomes colour
        ]
    raise_problems(problems)
    sizes = list(dict.fromkeys(case.images[0].shape[: dimensions[0]] for case in cases))
    return Geometry(
        dimensions=dimensions[0],
        files=wide,
        layers=_layers(cases[0], dimensions[0]),
        value_range=cases[0].images[0].value_range,
        sizes=tuple(sorted(sizes[:MOST_SIZES])),
        has_affine=all(any(head.affine is not None for head in case.images) for case in cases),
    )


def _header(source: Source, problems: list[str]) -> Header | None:
    try:
        if _is(source, PICTURES):
            picture = read_picture_header(source.path)
            return Header(source, picture.size, picture.channels, 255.0 if picture.bits == 8 else 65535.0)
        if _is(source, VOLUMES):
            problems += (faults := header_problems(source.path))
            if faults:
                return None
            volume = read_header(source.path)
            return Header(source, volume.shape, 1, 1.0, volume.affine)
        array = read_array_header(source)
    except BadData as error:
        problems.append(error.message)
        return None
    if array.dtype.kind not in REAL:
        problems.append(f"{source} must hold real numbers, it holds {array.dtype}")
    elif 0 in array.shape:
        problems.append(f"{source} must not be empty, its shape is {array.shape}")
    elif not 2 <= len(array.shape) <= 4:
        problems.append(f"{source} must be 2D or 3D, with channels at the end, its shape is {array.shape}")
    else:
        return Header(source, array.shape, None, {"uint8": 255.0, "uint16": 65535.0}.get(array.dtype.name, 1.0))
    return None


def _dimensions(case: _Case, flat: bool) -> int:
    """The number of spatial axes."""
    first, label = case.images[0], case.label
    for header in (*case.images, label):
        if header is not None and header.channels is not None:
            return len(header.shape)
    image = first.shape
    if label is None:
        return 2 if len(image) == 2 or flat else 3
    last = label.shape[-1]
    if image == label.shape:
        return len(image) - 1 if len(image) == 4 or (len(image) == 3 and last <= MOST_CHANNELS) else len(image)
    if image == label.shape[:-1]:
        return len(image)
    both = image[:-1] == label.shape[:-1] and len(image) > 2 and min(image[-1], last) <= MOST_CHANNELS
    return len(image) - 1 if both else min(len(label.shape), 3)


def _problems(case: _Case, dimensions: int, other: _Case, other_dimensions: int) -> list[str]:
    first = next((image for image in case.images if image.affine is not None), case.images[0])
    problems: list[str] = []
    if dimensions != other_dimensions:
        return [f"{first.source} must be {other_dimensions}D as {other.images[0].source}, it is {dimensions}D"]
    for image in case.images:
        if image.value_range != other.images[0].value_range:
            problems.append(
                f"{image.source} must have pixels of the type that {other.images[0].source} has: one is divided by "
                f"{image.value_range:g}, the other by {other.images[0].value_range:g}"
            )
        problems += _grid_problems(first, image, dimensions)
    if case.label is not None:
        problems += _grid_problems(first, case.label, dimensions)
        if not problems and _layers(case, dimensions) != _layers(other, dimensions):
            problems.append(f"{case.label.source} must have as many labels in its last axis as {other.item.name} has")
    return problems


def _grid_problems(image: Header, other: Header, dimensions: int) -> list[str]:
    """Why a mask or a further channel does not lie on the grid of the image."""
    extra = len(other.shape) - dimensions
    sizes = "x".join(map(str, image.shape[:dimensions]))
    if extra not in (0, 1) or image.shape[:dimensions] != other.shape[:dimensions]:
        came = "x".join(map(str, other.shape))
        return [f"{other.source} must be as large as its image {image.source}, {sizes}, it is {came}"]
    if image.affine is not None and other.affine is not None:
        try:
            check_same_grid(image.source.path, image.shape, image.affine, other.source.path, other.shape, other.affine)
        except BadData as error:
            return [error.message]
    return []


def _channels(case: _Case, dimensions: int) -> tuple[int, ...]:
    return tuple(head.channels or (head.shape[-1] if len(head.shape) > dimensions else 1) for head in case.images)


def _layers(case: _Case, dimensions: int) -> int | None:
    """Labels at the end of a label map; one alone is no more than a map."""
    if case.label is None or len(case.label.shape) == dimensions or case.label.shape[-1] == 1:
        return None
    return case.label.shape[-1]


def _is(source: Source, suffixes: Sequence[str]) -> bool:
    return source.key is None and suffix_of(source.path) in suffixes

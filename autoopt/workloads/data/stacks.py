"""TIFF files of several pages that say what these are: channels (C), slices (Z) or times (T), as OME-XML or ImageJ do.

Pages are read by Pillow, which knows the usual compressions; it shows the first one alone unless it is asked. Slices
are the first axis, as other programs for TIFF have them: (z, y, x). The size of a voxel becomes an affine in mm, of an
image that is not turned; TIFF knows no patient and no orientation.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from autoopt.errors import BadData
from autoopt.workloads.data.image_file import ImageFile, reading, value_range

AXES = "CZT"
DESCRIPTION, ORIENTATION, X_RESOLUTION, Y_RESOLUTION, SAMPLE_FORMAT = 270, 274, 282, 283, 339
"""Tags of TIFF."""
MOST_TEXT = 4_000_000
"""Letters of a description, which are a few hundred for each page."""
MOST_PAGES = 100_000
MOST_UNSEEN, MOST_PACKED = 20_000_000, 1100
"""Up to so many bytes of pixels are read whatever the pages say; else the file must have one for so many of them."""
MM = {"nm": 1e-6, "um": 1e-3, "micron": 1e-3, "microns": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1000.0, "inch": 25.4}
"""Units of the size of a voxel, in mm."""
DTYPES = {"1": "uint8", "L": "uint8", "P": "uint8", "RGB": "uint8", "I": "int32", "F": "float32"}
"""What the pixels of Pillow's modes become; those of 16 bits begin with "I;16"."""
COLOURS = 3
TIFF = "a TIFF file whose pages can be read"


@dataclass(frozen=True)
class _Told:
    """What a description says: the sizes of the axes, the page of each (channel, slice, time), and a voxel in mm.

    `voxel_mm` is (x, y, z), None where one of them is not known.
    """

    sizes: Mapping[str, int]
    pages: Mapping[tuple[int, int, int], int]
    voxel_mm: tuple[float, float, float] | None


def is_stack(path: Path) -> bool:
    """Whether a file is a TIFF of several pages, or says that it is one; False for what cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            if image.format != "TIFF":
                return False
            return getattr(image, "n_frames", 1) > 1 or _planes_told(image, path) > 1
    except BadData:
        return True
    except Exception:  # Pillow raises many kinds for broken files: who reads the file says what is wrong with it
        return False


def open_stack(path: Path) -> ImageFile:
    """The pages of a TIFF as one image: (y, x) or (z, y, x), with channels at the end where there are several.

    Times are channels, of a file without other ones, and `volumes` says so. Raises BadData naming a file that does not
    say what its pages are, lacks some of them, or whose pages differ.
    """
    from PIL import Image

    with reading(path, TIFF), Image.open(path) as image:
        count = int(getattr(image, "n_frames", 1))
        told = _told(image, path, count)
        forms = []
        for page in told.pages.values():
            image.seek(page)
            forms.append((image.size, image.mode, image.getexif().get(ORIENTATION, 1)))
    (width, height), mode, turned = forms[0]
    if set(forms) != {forms[0]} or turned != 1:
        raise BadData(f"{path} must have upright pages of one size and type, they differ or are turned")
    dtype = "uint16" if mode.startswith("I;16") else DTYPES.get(mode)
    if dtype is None:
        raise BadData(f"{path} must have pages of grey values or RGB, they are {mode}")
    colours = COLOURS if mode == "RGB" else 1
    size = width * height * len(forms) * colours * np.dtype(dtype).itemsize
    if size > MOST_UNSEEN and size > path.stat().st_size * MOST_PACKED:
        raise BadData(f"{path} must hold its {len(forms)} pages of {width}x{height}, it is too small: it is broken")
    channels, slices, times = (told.sizes[axis] for axis in AXES)
    if times > 1 and channels * colours > 1:
        raise BadData(f"{path} must hold one image, it holds {times} times of {channels} channels: store one per file")
    shape = (slices, height, width) if slices > 1 else (height, width)
    affine = None if told.voxel_mm is None or slices == 1 else _affine(told.voxel_mm)
    return ImageFile(
        shape,
        channels * times * colours,
        read=partial(_values, path, told, dtype),
        affine=affine,
        value_range=value_range(np.dtype(dtype)),
        volumes=f"{times} images of different times" if times > 1 else None,
    )


def _values(path: Path, told: _Told, dtype: str) -> np.ndarray:
    """The pages put together, ([z,] y, x[, channels])."""
    from PIL import Image

    channels, slices, times = (told.sizes[axis] for axis in AXES)
    with reading(path, TIFF), Image.open(path) as image:
        planes = []
        for z in range(slices):
            parts = []
            for t, c in product(range(times), range(channels)):
                image.seek(told.pages[c, z, t])
                tags: Any = getattr(image, "tag_v2", {})
                values = np.asarray(image).astype(dtype)
                if tags.get(SAMPLE_FORMAT, (1,))[0] == 1 and values.min(initial=0) < 0:
                    raise BadData(f"{path} must hold numbers below 2147483648, it holds larger ones")
                parts.append(values if values.ndim > 2 else values[..., np.newaxis])
            planes.append(np.concatenate(parts, axis=-1))
    whole = np.stack(planes) if slices > 1 else planes[0]
    return whole[..., 0] if whole.shape[-1] == 1 else whole


def _planes_told(image: Any, path: Path) -> int:
    """How many pages a description speaks of; 1 without one."""
    text = _text(image, path)
    if _is_ome(text):
        return math.prod(_ome_sizes(_pixels(text, path), path).values())
    return _number(_pairs(text).get("images", "1"), path) if text.startswith("ImageJ=") else 1


def _told(image: Any, path: Path, count: int) -> _Told:
    """What the description of a file of so many pages says. Raises BadData."""
    text = _text(image, path)
    if _is_ome(text):
        told = _of_ome(_pixels(text, path), path)
    elif text.startswith("ImageJ="):
        told = _of_imagej(_pairs(text), image, path)
    else:
        raise BadData(
            f"{path} must say what its {count} pages are, channels, slices or times: store it as OME-TIFF, or a stack "
            "of slices as .npy or NIfTI"
        )
    if sorted(set(told.pages.values())) != list(range(count)):
        raise BadData(
            f"{path} must hold the {len(told.pages)} pages of its description and no others, it holds {count}: save "
            "all of them in one file, as pages of their own"
        )
    return told


def _text(image: Any, path: Path) -> str:
    """The description of a file, "" without one. OME-XML is UTF-8, which Pillow takes for Latin-1."""
    text = image.tag_v2.get(DESCRIPTION, "")
    if not isinstance(text, str):
        return ""
    if len(text) > MOST_TEXT:
        raise BadData(f"{path} must have a description of at most {MOST_TEXT} letters, it has {len(text)}")
    return text.encode("latin-1", "replace").decode("utf-8", "replace").strip()


def _is_ome(text: str) -> bool:
    return text.startswith("<") and re.search(r"<(?:\w+:)?OME\b", text[:10_000]) is not None


def _pixels(text: str, path: Path) -> ET.Element:
    """The one image that OME-XML describes. Raises BadData for several, and for XML with definitions of its own."""
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise BadData(f"{path} must have plain OME-XML, it defines entities")
    try:
        found = [item for item in ET.fromstring(text).iter() if _name(item) == "Pixels"]  # noqa: S314  # no entities
    except ET.ParseError as error:
        raise BadData(f"{path} must have OME-XML that can be read: {error}") from error
    if len(found) != 1:
        raise BadData(
            f"{path} must hold one image, its OME-XML describes {len(found)}: store each in a file of its own"
        )
    return found[0]


def _ome_sizes(pixels: ET.Element, path: Path) -> dict[str, int]:
    """The pages along each axis: of colours that lie in one page, one counts."""
    sizes = {axis: _number(pixels.get(f"Size{axis}", "1"), path) for axis in AXES}
    samples = [_number(item.get("SamplesPerPixel", "1"), path) for item in pixels if _name(item) == "Channel"]
    together = max(samples, default=1)
    return {**sizes, "C": max(1, sizes["C"] // together)}


def _of_ome(pixels: ET.Element, path: Path) -> _Told:
    sizes = _ome_sizes(pixels, path)
    order = [axis for axis in pixels.get("DimensionOrder", "XYCZT") if axis in AXES]
    if sorted(order) != sorted(AXES) or math.prod(sizes.values()) > MOST_PAGES:
        came = f"{''.join(order)} {sizes}"
        raise BadData(
            f"{path} must have OME-XML with an order of the axes and at most {MOST_PAGES} pages, it has {came}"
        )
    planes = _planes(sizes, order)
    blocks = [item for item in pixels if _name(item) == "TiffData"]
    files = {item.text for block in blocks for item in block if _name(item) == "UUID"}
    if len(files) > 1:
        raise BadData(f"{path} must hold all pages of its image, they lie in {len(files)} files: save them in one")
    if not any(block.attrib for block in blocks):
        return _Told(sizes, {plane: page for page, plane in enumerate(planes)}, _ome_voxel(pixels))
    place = {plane: number for number, plane in enumerate(planes)}
    pages: dict[tuple[int, int, int], int] = {}
    for block in blocks:
        first = tuple(_number(block.get(f"First{axis}", "0"), path, 0) for axis in AXES)
        page = _number(block.get("IFD", "0"), path, 0)
        many = _number(block.get("PlaneCount", "1" if "IFD" in block.attrib else str(len(planes))), path)
        start = place.get((first[0], first[1], first[2]), len(planes))
        pages |= {plane: page + number for number, plane in enumerate(planes[start : start + many])}
    if len(pages) < len(planes):
        raise BadData(f"{path} must say where each of its {len(planes)} pages is, it does of {len(pages)}")
    return _Told(sizes, pages, _ome_voxel(pixels))


def _planes(sizes: Mapping[str, int], order: Sequence[str]) -> list[tuple[int, int, int]]:
    """(channel, slice, time) of each page, where the first axis of `order` changes from page to page."""
    found = []
    for place in product(*(range(sizes[axis]) for axis in reversed(order))):
        at = dict(zip(reversed(order), place, strict=True))
        found.append((at["C"], at["Z"], at["T"]))
    return found


def _ome_voxel(pixels: ET.Element) -> tuple[float, float, float] | None:
    found = [
        _millimetres(pixels.get(f"PhysicalSize{axis}", ""), pixels.get(f"PhysicalSize{axis}Unit", "um"))
        for axis in "XYZ"
    ]
    return None if None in found else (found[0], found[1], found[2])  # type: ignore[return-value]


def _of_imagej(pairs: Mapping[str, str], image: Any, path: Path) -> _Told:
    """ImageJ: channels change from page to page, then slices, then times; a stack without these words has slices."""
    sizes = {
        axis: _number(pairs.get(name, "1"), path)
        for axis, name in zip(AXES, ("channels", "slices", "frames"), strict=True)
    }
    images = _number(pairs.get("images", "1"), path)
    if math.prod(sizes.values()) != images or images > MOST_PAGES:
        raise BadData(f"{path} must say what its {images} pages are, its description has {sizes}: store it as OME-TIFF")
    unit = pairs.get("unit", "")
    resolution = [image.tag_v2.get(tag, 0) for tag in (X_RESOLUTION, Y_RESOLUTION)]
    sides = [_millimetres(str(1 / float(value)) if value else "", unit) for value in resolution]
    found = [*sides, _millimetres(pairs.get("spacing", ""), unit)]
    voxel = None if None in found else (found[0], found[1], found[2])
    pages = {plane: page for page, plane in enumerate(_planes(sizes, AXES))}
    return _Told(sizes, pages, voxel)  # type: ignore[arg-type]


def _pairs(text: str) -> dict[str, str]:
    """The lines NAME=VALUE of a description of ImageJ."""
    lines = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def _millimetres(text: str, unit: str) -> float | None:
    """A length in mm; None where it or its unit is not known."""
    factor = MM.get(unit.replace("\\u00B5", "u").replace("\u00b5", "u").replace("\u03bc", "u"))
    try:
        length = float(text) * (factor or math.nan)
    except ValueError:
        return None
    return length if math.isfinite(length) and length > 0 else None


def _number(text: str, path: Path, least: int = 1) -> int:
    """A whole number of a description. Raises BadData for another text."""
    if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
        raise BadData(f"{path} must have whole numbers from {least} in its description of pages, it has {text[:40]!r}")
    return int(text)


def _name(item: ET.Element) -> str:
    """The name of an element without its namespace."""
    return str(item.tag).rpartition("}")[2]


def _affine(voxel_mm: tuple[float, float, float]) -> np.ndarray:
    """From (z, y, x) to millimetres along x, y and z."""
    x, y, z = voxel_mm
    return np.array([[0, 0, x, 0], [0, y, 0, 0], [z, 0, 0, 0], [0, 0, 0, 1]], np.float64)

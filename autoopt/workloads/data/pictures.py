"""2D pictures as Pillow reads them: what the header says, the pixels, the labels of a mask.

Photos are turned upright by their EXIF tag, wherever a format keeps it; transparent pixels are laid on white; 16 bits
of grey stay 16. What has no single meaning is refused: floating-point pixels, several pages, and as a mask colours and
lossy compression.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from autoopt.errors import BadData
from autoopt.workloads.data.image_file import ImageFile
from autoopt.workloads.data.stacks import is_stack, open_stack

if TYPE_CHECKING:
    from PIL import Image

TIFF_SUFFIXES = (".tif", ".tiff")
GREY_MODES = ("1", "L", "LA", "La")
MOST_GREY = 65535
MOST_PIXELS_UNSEEN = 20_000_000
"""Up to so many pixels a picture is decoded whatever its header says: that takes about 200 MB."""
MOST_PACKED = 8 * 1100
"""Pixels in one byte of a file: eight of one bit each, packed as tightly as PNG and TIFF can."""
LOSSY = ("JPEG", "MPO")
"""Formats that change the values of pixels; a phone's photo is an MPO with a preview as a second page."""
EXIF_ORIENTATION = 0x0112
EXIF_TRANSPOSED = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""


ORIENTATION_KEYS = {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}
"""Where a file may say how it is turned; the second is a text chunk of a PNG, as ImageMagick writes it."""
PNG_START, PNG_IMAGE = 8, b"IDAT"
PNG_NOTES = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
"""Chunks of a PNG that may say how it is turned."""


@dataclass(frozen=True)
class PictureHeader:
    """What a file says before its pixels are decoded: (height, width) as shown, 1 or 3 channels, bits of one."""

    size: tuple[int, int]
    channels: Literal[1, 3]
    bits: Literal[8, 16]
    lossy: bool


def open_picture(path: Path) -> ImageFile:
    """The picture in a file: uint8, or uint16 for 16 bits of grey, (height, width, 1 or 3). Raises BadData.

    As a label map it is the indices of a palette, or grey values; colours and JPEG are refused. A TIFF of several pages
    is what `stacks.open_stack` makes of it.
    """
    if path.suffix.lower() in TIFF_SUFFIXES and is_stack(path):
        return open_stack(path)
    header = read_picture_header(path)
    return ImageFile(
        header.size,
        header.channels,
        read=partial(_pixels, path, header, header.channels),
        read_labels=partial(_labels, path, header),
        value_range=255.0 if header.bits == 8 else 65535.0,
        is_picture=True,
    )


def read_picture_header(path: Path) -> PictureHeader:
    """The header. Raises BadData naming a file that is no picture, is empty or cut short, or has too many pixels.

    Every part of the file is there, with the right checksum where the format has one. Pillow's limit holds against
    files that are small but decode to gigabytes; the message has the number of pixels.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            width, height = image.size
            mode, kind = image.mode, image.format
            _check_single(image, path)
            turned = not ORIENTATION_KEYS.isdisjoint(image.info) or (kind == "PNG" and _has_late_notes(path))
            image.verify()
        if turned:  # only where it may be: reading the tag decodes the pixels, and a verified image is closed
            with Image.open(path) as image:
                turned = image.getexif().get(EXIF_ORIENTATION) in EXIF_TRANSPOSED
    except BadData:
        raise
    except Exception as error:  # Pillow's readers raise many kinds for broken files: name the file
        raise BadData(f"{path} must be a picture that can be read: {_reason(error, path)}") from error
    if width * height > MOST_PIXELS_UNSEEN and width * height > path.stat().st_size * MOST_PACKED:
        raise BadData(f"{path} must hold its {width}x{height} pixels, it is too small for them: it is broken")
    if mode == "F":
        raise BadData(f"{path} must hold whole numbers, its pixels are floating-point: store it as .npy or NIfTI")
    return PictureHeader(
        size=(width, height) if turned else (height, width),
        channels=1 if mode in GREY_MODES or mode.startswith("I") else 3,
        bits=16 if mode.startswith("I") else 8,
        lossy=kind in LOSSY,
    )


def read_picture(path: Path, channels: Literal[1, 3] | None = None) -> np.ndarray:
    """The picture, (height, width, channels), uint8, or uint16 where 16 bits of grey stay one channel.

    Without `channels` grey files have one and all others three; a colour is made grey by its luminance. Raises BadData.
    """
    header = read_picture_header(path)
    return _pixels(path, header, channels or header.channels)


def read_index_mask(path: Path) -> np.ndarray:
    """The labels that a file stores, (height, width), uint8 or uint16: indices of a palette, else grey values.

    Raises BadData as `read_picture`, and for colours and JPEG, which do not keep a label.
    """
    return _labels(path, read_picture_header(path))


def read_rgb(path: Path) -> np.ndarray:
    """The picture as uint8 (height, width, 3), whatever its mode; 16-bit grey is scaled to 8 bits. Raises BadData."""
    image = _decoded(path)
    if image.mode.startswith("I") or image.mode == "F":
        grey = _eight_bits(np.asarray(image))
        return np.repeat(grey[..., np.newaxis], 3, axis=2)
    if image.has_transparency_data:
        from PIL import Image

        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def read_grey(path: Path) -> np.ndarray:
    """The luminance of the picture as uint8 (height, width); 16-bit grey is scaled to 8 bits. Raises BadData."""
    image = _decoded(path)
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(np.asarray(image))
    return np.array(image.convert("L"))


def _has_late_notes(path: Path) -> bool:
    """Whether a PNG has notes behind its pixels, which Pillow reads with them and not with the header."""
    behind = False
    with path.open("rb") as stream:
        stream.seek(PNG_START)
        while len(head := stream.read(8)) == 8:
            kind = head[4:]
            behind = behind or kind == PNG_IMAGE
            if behind and kind in PNG_NOTES:
                return True
            stream.seek(int.from_bytes(head[:4], "big") + 4, 1)
    return False


def _pixels(path: Path, header: PictureHeader, channels: Literal[1, 3]) -> np.ndarray:
    if header.bits == 16 and channels == 1:
        return _sixteen_bits(_decoded(path), path)[..., np.newaxis]
    colours = read_rgb(path)
    if channels == 3:
        return colours
    from PIL import Image

    return np.array(Image.fromarray(colours).convert("L"))[..., np.newaxis]  # three equal channels give that value


def _labels(path: Path, header: PictureHeader) -> np.ndarray:
    if header.lossy:
        raise BadData(f"{path} must keep its labels, JPEG changes the values of pixels: store the mask as PNG")
    image = _decoded(path)
    if header.bits == 16:
        return _sixteen_bits(image, path)
    if image.mode in ("P", "PA"):
        return np.asarray(image if image.mode == "P" else image.getchannel(0)).astype(np.uint8)
    if header.channels == 1:
        return np.asarray(image if image.mode in ("1", "L") else image.getchannel(0)).astype(np.uint8)
    colours = np.asarray(image.convert("RGB"))
    if np.any(colours[..., :1] != colours):
        raise BadData(f"{path} must hold labels as grey values or indices of a palette, its pixels have colours")
    return np.array(colours[..., 0])


def _decoded(path: Path) -> Image.Image:
    """The picture of a file, upright by its EXIF tag."""
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            _check_single(image, path)
            return ImageOps.exif_transpose(image)
    except BadData:
        raise
    except Exception as error:  # Pillow's readers raise many kinds for broken files: name the file
        raise BadData(f"{path} must be a picture that can be read: {_reason(error, path)}") from error


def _check_single(image: Image.Image, path: Path) -> None:
    """Raise BadData for a file of several pages, of which Pillow would show the first. Previews of photos are none."""
    pages = 1 if image.format in LOSSY else getattr(image, "n_frames", 1)
    if pages > 1:
        raise BadData(f"{path} must hold one picture, it holds {pages}: store a stack of slices as .npy or NIfTI")


def _eight_bits(values: np.ndarray) -> np.ndarray:
    scaled = values.astype(np.float64) / 257 if values.max(initial=0) > 255 else values
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _sixteen_bits(image: Image.Image, path: Path) -> np.ndarray:
    values = np.asarray(image)
    if values.size and (values.min() < 0 or values.max() > MOST_GREY):
        raise BadData(f"{path} must hold grey values from 0 to {MOST_GREY}, it holds {values.min()} to {values.max()}")
    return values.astype(np.uint16)


def _reason(error: Exception, path: Path) -> str:
    if "cannot identify" in str(error):
        return "it is no image, or a broken one"
    return str(error).replace(str(path), path.name)

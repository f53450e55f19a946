"""2D image files as Pillow reads them: what the header says, the pixels, the numbers of a mask.

Photos are turned upright by their EXIF tag, transparent pixels are laid on white, 16 bits of grey stay 16. Whatever has
no single meaning is refused: floating-point pixels, several pages, labels in colours or behind lossy compression.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from autoopt.errors import BadData
from autoopt.workloads.data.folder import decoded, picture_size, read_rgb

if TYPE_CHECKING:
    from PIL import Image

GREY_MODES = ("1", "L", "LA", "La")
MOST_GREY = 65535
LOSSY = "JPEG"


@dataclass(frozen=True)
class PictureHeader:
    """What a file says before its pixels are decoded: (height, width) as shown, 1 or 3 channels, bits of one."""

    size: tuple[int, int]
    channels: Literal[1, 3]
    bits: Literal[8, 16]
    lossy: bool


def read_picture_header(path: Path) -> PictureHeader:
    """The header. Raises BadData naming a file that is no picture, is empty or cut short, or has too many pixels.

    Pillow's limit holds against files that are small but decode to gigabytes; its message has the number of pixels.
    """
    from PIL import Image

    size = picture_size(path)
    if isinstance(size, str):
        raise BadData(size)
    with Image.open(path) as image:
        mode, kind = image.mode, image.format
        pages = 1 if kind in (LOSSY, "MPO") else getattr(image, "n_frames", 1)  # phones add a preview to a photo
        transparent_palette = mode == "P"
    if mode == "F":
        raise BadData(f"{path} must hold whole numbers, its pixels are floating-point: store it as .npy or NIfTI")
    if pages > 1:
        raise BadData(f"{path} must hold one picture, it holds {pages}: store a stack of slices as .npy or NIfTI")
    grey = not transparent_palette and (mode in GREY_MODES or mode.startswith("I"))
    width, height = size
    return PictureHeader(
        (height, width), 1 if grey else 3, 16 if mode.startswith("I") else 8, kind == LOSSY or kind == "MPO"
    )


def read_picture(path: Path, channels: Literal[1, 3] | None = None) -> np.ndarray:
    """The picture, (height, width, channels), uint8, or uint16 where 16 bits of grey stay one channel.

    Without `channels` grey files have one and all others three; a colour is made grey by its luminance. Raises BadData.
    """
    header = read_picture_header(path)
    wanted = header.channels if channels is None else channels
    if header.bits == 16 and wanted == 1:
        return _sixteen_bits(decoded(path), path)[..., np.newaxis]
    colours = read_rgb(path)
    if wanted == 3:
        return colours
    from PIL import Image

    return np.array(Image.fromarray(colours).convert("L"))[..., np.newaxis]  # of equal channels that value


def read_index_mask(path: Path) -> np.ndarray:
    """The numbers that the file stores, (height, width), uint8 or uint16: the index of a palette, else the grey value.

    Raises BadData as `read_picture`, and for colours and JPEG, which do not keep a label.
    """
    header = read_picture_header(path)
    if header.lossy:
        raise BadData(f"{path} must keep its labels, JPEG changes the values of pixels: store the mask as PNG")
    image = decoded(path)
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


def _sixteen_bits(image: Image.Image, path: Path) -> np.ndarray:
    values = np.asarray(image)
    if values.size and (values.min() < 0 or values.max() > MOST_GREY):
        raise BadData(f"{path} must hold grey values from 0 to {MOST_GREY}, it holds {values.min()} to {values.max()}")
    return values.astype(np.uint16)

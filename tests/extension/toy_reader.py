"""A reader of files that end with .toy: the word toy, the size, then the pixels as bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from autoopt.workloads.data.image_file import ImageFile


def open_toy(path: Path) -> ImageFile:
    """The grey picture in a file; BadData is raised by the caller, who names the file."""
    content = path.read_bytes()
    if content[:3] != b"toy":
        raise ValueError("it must begin with the word toy")
    height, width = content[3:5]
    return ImageFile.of(np.frombuffer(content, np.uint8, offset=5).reshape(height, width))


def write_toy(path: Path, pixels: np.ndarray) -> None:
    """Write grey pixels (y, x), at most 255 of each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"toy" + bytes(pixels.shape) + pixels.astype(np.uint8).tobytes())

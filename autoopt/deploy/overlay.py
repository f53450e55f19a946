"""A picture for people: the image with the labels of an answer drawn over it. Not for measuring."""

from __future__ import annotations

import math

import numpy as np

from autoopt.deploy.outputs import picture_bytes

COLOURS = ((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167))
"""Okabe and Ito's, which people who do not see all colours tell apart."""
SHARE = 0.4
"""How much of a colour covers the image within a label; its edge is drawn in full."""
SLICES = 9
DARKEST, BRIGHTEST = 1.0, 99.0
"""Percentiles that become black and white where values are no 8-bit pixels."""
DEMO, LINE = "DEMO DATA", (64, 14)
"""What the line above a picture says, and its least width and its height in pixels."""


def overlay_bytes(
    image: np.ndarray, mask: np.ndarray, title: str, *, multilabel: bool, stack_axis: int, demo: bool
) -> bytes:
    """A PNG: the picture, or of a volume or stack at most `SLICES` slices side by side, those with labels evenly.

    `image`: (*spatial, channels); `mask`: (*spatial) labels, or with `multilabel` 0 / 1 (*spatial, labels).
    `stack_axis` is the axis of slices where there are three axes: the last one of NIfTI, whose others are turned to lie
    as people are used to, or the first one of a stack. With `demo` the picture says so.
    """
    layers: np.ndarray = np.moveaxis(mask, -1, 0) > 0 if multilabel else mask[np.newaxis] == _foreground(mask)
    pixels = as_pixels(image)
    if layers.ndim == 3:
        drawn = drawn_over(pixels, layers)
    else:
        turned = stack_axis == 2
        found = _slices(np.any(layers, axis=0), stack_axis)
        parts = [
            drawn_over(
                plane(np.take(pixels, index, stack_axis), turned),
                np.stack([plane(np.take(layer, index, stack_axis), turned) for layer in layers]),
            )
            for index in found
        ]
        drawn = _side_by_side(parts)
    return picture_bytes(_labelled(drawn) if demo else drawn, title)


def _foreground(mask: np.ndarray) -> np.ndarray:
    """The labels above 0 as (labels, 1, ...), to be compared with a mask; one that is nowhere where there is none."""
    numbers = np.arange(1, max(2, int(mask.max(initial=0)) + 1))
    return numbers.reshape(-1, *[1] * mask.ndim)


def as_pixels(image: np.ndarray) -> np.ndarray:
    """uint8 (*spatial, 3): colours as they are, else the first channel from its darkest to its brightest values."""
    if image.dtype == np.uint8 and image.shape[-1] == 3:
        return image
    first = image[..., 0].astype(np.float32)
    if image.dtype != np.uint8:
        low, high = np.percentile(first, (DARKEST, BRIGHTEST))
        first = 255 * (first - low) / max(float(high - low), 1e-6)
    grey = np.clip(np.rint(first), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., np.newaxis], 3, axis=-1)


def _slices(labelled: np.ndarray, axis: int) -> list[int]:
    """Slices evenly over those that have a label, else over all."""
    others = tuple(other for other in range(labelled.ndim) if other != axis)
    with_label = np.flatnonzero(labelled.any(axis=others))
    chosen = with_label if with_label.size else np.arange(labelled.shape[axis])
    places = np.linspace(0, chosen.size - 1, min(SLICES, chosen.size))
    return [int(chosen[round(place)]) for place in places]


def plane(values: np.ndarray, turned: bool) -> np.ndarray:
    """A slice of rows and columns; one of NIfTI's first two axes with the second one upwards."""
    return np.rot90(values) if turned else values


def drawn_over(pixels: np.ndarray, layers: np.ndarray) -> np.ndarray:
    """uint8 (height, width, 3) with each layer (height, width) in its colour."""
    drawn = pixels.astype(np.float32)
    for index, layer in enumerate(layers):
        colour = np.array(COLOURS[index % len(COLOURS)], np.float32)
        drawn[layer] = (1 - SHARE) * drawn[layer] + SHARE * colour
        drawn[layer & ~_inner(layer)] = colour
    return np.rint(drawn).astype(np.uint8)


def _inner(layer: np.ndarray) -> np.ndarray:
    """Where all four neighbours have the label too; beyond the edge of the picture they do."""
    around = np.pad(layer, 1, mode="edge")
    inner: np.ndarray = around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return inner


def _side_by_side(parts: list[np.ndarray]) -> np.ndarray:
    columns = math.ceil(math.sqrt(len(parts)))
    rows = [parts[start : start + columns] for start in range(0, len(parts), columns)]
    rows[-1] += [np.zeros_like(parts[0])] * (columns - len(rows[-1]))
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def _labelled(pixels: np.ndarray) -> np.ndarray:
    """The picture with a line above it that says that the model was made from demo data."""
    from PIL import Image, ImageDraw

    missing = max(0, LINE[0] - pixels.shape[1])
    pixels = np.pad(pixels, ((0, 0), (0, missing), (0, 0)))
    line = Image.new("RGB", (pixels.shape[1], LINE[1]), "white")
    ImageDraw.Draw(line).text((2, 1), DEMO, fill="black")
    return np.concatenate([np.asarray(line), pixels])

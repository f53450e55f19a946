"""Small pictures of answered cases: the image, the reference, two answers, and where these differ."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoopt.deploy.overlay import COLOURS, as_pixels, drawn_over, plane
from autoopt.report.evidence_predictions import Answered, Answers
from autoopt.workloads.contract import IGNORED

SIDE = 160
"""The longer side of a picture, in pixels."""
MOST_BYTES = 90_000
"""Of all pictures of a report together: a third more as text."""
QUALITIES = (75, 55, 40, 25, 10)
"""Tried in this order until the pictures are small enough."""
LOST, GAINED, OTHERWISE = (213, 94, 0), (0, 158, 115), (240, 228, 66)
"""Where only the source model is right, where only the chosen one is, where both are wrong in another way."""


@dataclass(frozen=True)
class Tile:
    """One cell of a row: `picture` is WebP, `words` say what it does not, or all where there is none."""

    words: str
    picture: bytes = b""


def rows_of_tiles(answers: Answers) -> list[list[Tile]]:
    """For each case the image, the reference, the source model's answer, the chosen one, and their difference.

    Of a volume the slice with the largest difference is shown. Of a classification or regression only the image
    is a picture. All pictures together take at most about `MOST_BYTES`.
    """
    row = {"segmentation": _segmented, "classification": _classified, "regression": _numbered}[answers.pipeline.task]
    rows = [row(case, answers) for case in answers.cases]
    drawn = [pixels for row in rows for _, pixels in row if pixels is not None]
    encoded: list[bytes] = []
    for quality in QUALITIES:
        encoded = [_webp(pixels, quality) for pixels in drawn]
        if sum(map(len, encoded)) <= MOST_BYTES:
            break
    left = iter(encoded)
    return [[Tile(words, b"" if pixels is None else next(left)) for words, pixels in row] for row in rows]


def _segmented(case: Answered, answers: Answers) -> list[tuple[str, np.ndarray | None]]:
    known = _known(case)
    layers = [_layers(item, len(answers.labels), case.image.ndim - 1) & known for item in _maps(case)]
    image = as_pixels(case.image)
    where = ""
    if image.ndim == 4:
        image, layers, where = _slice(image, layers, case.stack_axis)
    small = _resized(image)
    reference, source, chosen = (np.stack([_small_mask(layer) for layer in item]) for item in layers)
    wrong = [np.any(item != layers[0], axis=0) for item in layers[1:]]
    differ = np.any(layers[1] != layers[2], axis=0)
    kinds = (differ & ~wrong[0], differ & ~wrong[1], differ & wrong[0] & wrong[1])
    difference = np.stack([_small_mask(kind, least=0.0) for kind in kinds])
    share = f"{100 * differ.mean():.2g} % of the pixels" if differ.any() else "none"
    return [
        (where, small),
        ("", drawn_over(small, reference)),
        ("", drawn_over(small, source)),
        ("", drawn_over(small, chosen)),
        (share, _marked(_faded(small), difference)),
    ]


def _maps(case: Answered) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return case.reference, case.source, case.chosen


def _known(case: Answered) -> np.ndarray:
    """Where the reference is known, (*spatial)."""
    known = np.asarray(case.reference != IGNORED)
    return known if known.ndim == case.image.ndim - 1 else np.asarray(known.all(axis=-1))


def _layers(labels: np.ndarray, count: int, axes: int) -> np.ndarray:
    """Where each label is, (labels, *spatial): of a label map all but the background."""
    if labels.ndim > axes:
        return np.asarray(np.moveaxis(labels, -1, 0) == 1)
    return np.stack([labels == label for label in range(1, max(2, count))])


def _slice(image: np.ndarray, layers: list[np.ndarray], axis: int) -> tuple[np.ndarray, list[np.ndarray], str]:
    """The slice in which the answers differ most; where they do not, in which the last one is wrong most, else full."""
    others = tuple(place for place in range(3) if place != axis)
    for told in (layers[1] != layers[2], layers[0] != layers[2], layers[0]):
        counts = np.any(told, axis=0).sum(axis=others)
        if counts.any():
            break
    index, turned = int(np.argmax(counts)), axis == 2
    cut = [np.stack([plane(np.take(layer, index, axis), turned) for layer in item]) for item in layers]
    return plane(np.take(image, index, axis), turned), cut, f"slice {index}"


def _classified(case: Answered, answers: Answers) -> list[tuple[str, np.ndarray | None]]:
    names, threshold = answers.labels, answers.pipeline.threshold
    several = answers.pipeline.activation == "sigmoid"
    reference = _names(case.reference == 1, names) if several else names[int(case.reference)]
    words = [_said(item, names, threshold if several else None) for item in (case.source, case.chosen)]
    change = float(np.abs(case.source - case.chosen).max())
    decided = [_decided(item, several, threshold) for item in (case.source, case.chosen)]
    same = "the same answer" if decided[0] == decided[1] else "another answer"
    return [
        ("", _middle(case)),
        (reference, None),
        (words[0], None),
        (words[1], None),
        (f"{same}, probabilities change by up to {change:.2f}", None),
    ]


def _numbered(case: Answered, answers: Answers) -> list[tuple[str, np.ndarray | None]]:
    """A case of a regression: its numbers by name, and by how much they change."""
    words = [
        ", ".join(f"{name} {value:.4g}" for name, value in zip(answers.labels, item, strict=True))
        for item in (case.reference, case.source, case.chosen)
    ]
    change = float(np.abs(case.source - case.chosen).max())
    return [("", _middle(case)), *((item, None) for item in words), (f"changes by up to {change:.3g}", None)]


def _middle(case: Answered) -> np.ndarray:
    """The image as a small picture, of a volume its middle slice."""
    image = as_pixels(case.image)
    if image.ndim == 4:
        image = plane(np.take(image, image.shape[case.stack_axis] // 2, case.stack_axis), case.stack_axis == 2)
    return _resized(image)


def _decided(probabilities: np.ndarray, several: bool, threshold: float) -> list[int]:
    return np.flatnonzero(probabilities > threshold).tolist() if several else [int(probabilities.argmax())]


def _said(probabilities: np.ndarray, names: Sequence[str], threshold: float | None) -> str:
    """Such as: melanoma (0.93); of several labels all above the threshold."""
    chosen = _decided(probabilities, threshold is not None, threshold or 0.0)
    return ", ".join(f"{names[index]} ({probabilities[index]:.2f})" for index in chosen) or "none"


def _names(mask: np.ndarray, names: Sequence[str]) -> str:
    return ", ".join(name for name, holds in zip(names, mask, strict=True) if holds) or "none"


def _size(height: int, width: int) -> tuple[int, int]:
    """(width, height), as Pillow wants them, with the longer one `SIDE`."""
    scale = SIDE / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(pixels: np.ndarray) -> np.ndarray:
    from PIL import Image

    size = _size(*pixels.shape[:2])
    smooth = Image.Resampling.BOX if size[0] < pixels.shape[1] else Image.Resampling.NEAREST
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, smooth))


def _faded(pixels: np.ndarray) -> np.ndarray:
    """The picture in light grey, on which a few coloured pixels are seen."""
    grey = pixels.astype(np.float32).mean(axis=-1, keepdims=True)
    return np.repeat(np.rint(140 + 0.4 * grey).clip(0, 255).astype(np.uint8), 3, axis=-1)


def _marked(pixels: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The picture with what each of the three masks holds in its colour, in full: there may be little of it."""
    for mask, colour in zip(masks, (LOST, GAINED, OTHERWISE), strict=True):
        pixels[mask] = colour
    return pixels


def _small_mask(mask: np.ndarray, least: float = 0.5) -> np.ndarray:
    """Where more than the share `least` of what a pixel stands for is in the mask."""
    from PIL import Image

    values = Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0)))
    size = _size(*mask.shape)
    smooth = Image.Resampling.BOX if size[0] < mask.shape[1] else Image.Resampling.NEAREST
    return np.asarray(np.asarray(values.resize(size, smooth)) > 255 * least)


def _webp(pixels: np.ndarray, quality: int) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "WEBP", quality=quality, method=6)
    return stream.getvalue()


def label_colours(labels: Sequence[str], *, multilabel: bool) -> list[tuple[str, str]]:
    """The labels that pictures show, each with its colour as CSS has it."""
    shown = labels if multilabel else labels[1:]
    return [(name, css(COLOURS[index % len(COLOURS)])) for index, name in enumerate(shown)]


def css(colour: tuple[int, int, int]) -> str:
    """A colour as CSS has it, such as #D55E00."""
    return "#{:02X}{:02X}{:02X}".format(*colour)

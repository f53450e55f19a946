"""Where an image lies on the grid that the network sees: the way there, and the way back for what it answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoopt.inference import grid
from autoopt.inference.pipeline_settings import PipelineSettings
from autoopt.inference.steps.base import Item, Move

BACKGROUND_LOGIT = -20.0
"""The logit of every class but the background where the network saw nothing."""


@dataclass(frozen=True)
class Frame:
    """The way of one image to the network's grid and back.

    `moves` are what the steps did to its voxels, in order, `sizes` its spatial shape after them, a stack's axis first.
    `start` is where a cropped centre begins in that (None: nothing is cropped).
    """

    moves: tuple[Move, ...]
    sizes: tuple[int, ...]
    start: tuple[int, ...] | None

    @property
    def exact(self) -> int:
        """How many of the first moves only move voxels, before the first one that mixes them."""
        mixing = [place for place, move in enumerate(self.moves) if move.interpolates]
        return mixing[0] if mixing else len(self.moves)


def through_steps(
    settings: PipelineSettings, values: np.ndarray, affine: np.ndarray | None
) -> tuple[np.ndarray, Frame]:
    """An image (*spatial, channels) after all steps, and its frame; a cropped centre is not cropped yet.

    Raises ValueError when a needed affine is missing, and what the steps raise.
    """
    if settings.needs_affine:
        if affine is None:
            raise ValueError(
                "the image must come with its affine (voxel to mm), because this pipeline orients or resamples it"
            )
        affine = grid.checked_affine(affine)
    item = Item(values, affine, int(settings.sliced))
    moves = []
    for step in settings.chain:
        item, move = step.apply(item)
        moves += [] if move is None else [move]
    start = None
    if settings.fit == "center":
        plane = item.sizes[item.stack :]
        start = tuple((size - tile) // 2 for size, tile in zip(plane, settings.tile, strict=True))
    return item.values, Frame(tuple(moves), item.sizes, start)


def cropped(values: np.ndarray, frame: Frame, settings: PipelineSettings, fill: float | None = None) -> np.ndarray:
    """The centre of size `tile` of an array (*sizes, ...) where `fit` asks for it, else the array as it is.

    `fill` is beyond its edge; None takes the smallest value of the array.
    """
    if frame.start is None:
        return values
    fill = float(values.min()) if fill is None else fill
    return grid.crop(values, frame.start, settings.tile, int(settings.sliced), fill=fill)


def labels_on_grid(labels: np.ndarray, frame: Frame, settings: PipelineSettings, outside: int) -> np.ndarray:
    """A label map (*spatial, ...) on the network's grid; `outside` is the label beyond the edge of the image."""
    for move in frame.moves:
        labels = move.labels_there(labels, outside)
    return cropped(labels, frame, settings, fill=outside)


def uncropped(logits: np.ndarray, frame: Frame, settings: PipelineSettings) -> np.ndarray:
    """Logits (classes, *grid) of the whole network's grid; outside a cropped centre is background."""
    if frame.start is not None:
        whole = np.empty((settings.classes, *frame.sizes), np.float32)
        whole[:] = background(settings, sure=False).reshape(-1, *[1] * len(frame.sizes))
        grid.uncrop(whole, logits, frame.start, 1 + int(settings.sliced))
        logits = whole
    return logits


def background(settings: PipelineSettings, *, sure: bool) -> np.ndarray:
    """The logits (classes,) of a place where the network saw nothing, or with `sure` the probabilities."""
    none = np.full(settings.classes, 0.0 if sure else BACKGROUND_LOGIT, np.float32)
    if settings.activation == "softmax":
        none[0] = 1.0 if sure else 0.0
    return none


def values_back(
    values: np.ndarray, frame: Frame, settings: PipelineSettings, *, sure: bool, first: int = 0
) -> np.ndarray:
    """Logits (classes, *grid), or with `sure` probabilities, taken back through the moves from the last to `first`."""
    outside = background(settings, sure=sure)
    for move in reversed(frame.moves[first:]):
        values = move.values_back(values, outside)
    return values


def rounded_back(labels: np.ndarray, moves: tuple[Move, ...]) -> np.ndarray:
    """A label map taken back as numbers, mixed wherever a move mixes voxels, and rounded."""
    values = labels[np.newaxis].astype(np.float32)
    for move in reversed(moves):
        values = move.values_back(values, np.zeros(1, np.float32))
    return np.ascontiguousarray(np.rint(values[0]).astype(np.uint8))


def labels_back(labels: np.ndarray, moves: tuple[Move, ...]) -> np.ndarray:
    """A label map taken back through these moves, from the last to the first."""
    for move in reversed(moves):
        labels = move.labels_back(labels)
    return np.ascontiguousarray(labels)

"""Where an image lies on the grid that the network sees: the way there, and the way back for the network's logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoopt.inference import grid
from autoopt.inference.pipeline_settings import PipelineSettings

BACKGROUND_LOGIT = -20.0
"""The logit of every class but the background outside a cropped centre, where the network saw nothing."""


@dataclass(frozen=True)
class Frame:
    """The way of one image to the network's grid and back.

    `turn` is how its axes are turned (None: not at all), `turned` its spatial shape after that, `sizes` its shape after
    resampling, `start` where a cropped centre begins in it (None: nothing is cropped). A stack's axis stays first.
    """

    turn: grid.Turn | None
    turned: tuple[int, ...]
    sizes: tuple[int, ...]
    start: tuple[int, ...] | None


def frame_of(settings: PipelineSettings, spatial: tuple[int, ...], affine: np.ndarray | None) -> Frame:
    """The frame of an image of shape `spatial` with this affine. Raises ValueError when a needed affine is missing."""
    if settings.needs_affine and affine is None:
        raise ValueError(
            "the image must come with its affine (voxel to mm), because this pipeline orients or resamples it"
        )
    turn = None if settings.orientation is None or affine is None else grid.turn_to(settings.orientation, affine)
    turned = spatial if turn is None else tuple(spatial[axis] for axis in turn.axes)
    stack, plane = turned[: int(settings.sliced)], turned[int(settings.sliced) :]
    if settings.spacing_mm is not None and affine is not None:
        spacing = grid.spacing_of(affine)
        spacing = spacing if turn is None else tuple(spacing[axis] for axis in turn.axes)
        plane = grid.resampled_sizes(plane, spacing[int(settings.sliced) :], settings.spacing_mm)
    plane = settings.tile if settings.fit == "resize" else plane
    start = None
    if settings.fit == "center":
        start = tuple((size - tile) // 2 for size, tile in zip(plane, settings.tile, strict=True))
    return Frame(turn, turned, (*stack, *plane), start)


def turned(values: np.ndarray, frame: Frame) -> np.ndarray:
    """The array (*spatial, ...) of an image with its axes turned; a view."""
    return values if frame.turn is None else frame.turn.apply(values)


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
    return cropped(grid.resample_labels(turned(labels, frame), frame.sizes), frame, settings, fill=outside)


def logits_on_image(logits: np.ndarray, frame: Frame, settings: PipelineSettings) -> np.ndarray:
    """Logits (classes, *grid) on the image's own grid, (classes, *spatial); outside a cropped centre is background."""
    if frame.start is not None:
        whole = np.full((settings.classes, *frame.sizes), BACKGROUND_LOGIT, np.float32)
        if settings.activation == "softmax":
            whole[0] = 0.0
        grid.uncrop(whole, logits, frame.start, 1 + int(settings.sliced))
        logits = whole
    logits = grid.resample(logits, frame.turned, first_axis=1)
    if frame.turn is not None:
        logits = np.moveaxis(frame.turn.undo(np.moveaxis(logits, 0, -1)), -1, 0)
    return logits

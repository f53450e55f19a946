"""Where an image lies on the grid that the network sees: the way there, and the way back for the network's logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from autoopt.inference import grid
from autoopt.inference.pipeline_settings import PipelineSettings

TRANSPOSED = grid.Turn((1, 0), (False, False))
"""How a picture of rows and columns becomes one of columns and rows."""
BACKGROUND_LOGIT = -20.0
"""The logit of every class but the background outside a cropped centre, where the network saw nothing."""


@dataclass(frozen=True)
class Frame:
    """The way of one image to the network's grid and back.

    `turn` is how its axes are turned (None: not at all), `turned` its spatial shape after that, `sizes` its shape after
    resampling, `start` where a cropped centre begins in it (None: nothing is cropped). A stack's axis stays first.
    `steps` are the distances of the voxels of the new grid in old ones, where both begin with the same voxel; None
    where both have the same field of view.
    """

    turn: grid.Turn | None
    turned: tuple[int, ...]
    sizes: tuple[int, ...]
    start: tuple[int, ...] | None
    steps: tuple[float, ...] | None = None

    @property
    def back(self) -> tuple[float, ...] | None:
        """The steps from the network's grid to the image's."""
        return None if self.steps is None else tuple(1 / step for step in self.steps)


def frame_of(settings: PipelineSettings, spatial: tuple[int, ...], affine: np.ndarray | None) -> Frame:
    """The frame of an image of shape `spatial` with this affine. Raises ValueError when a needed affine is missing."""
    if settings.needs_affine and affine is None:
        raise ValueError(
            "the image must come with its affine (voxel to mm), because this pipeline orients or resamples it"
        )
    turn = TRANSPOSED if settings.transposed else None
    if settings.orientation is not None and affine is not None:
        turn = grid.turn_to(settings.orientation, affine)
    turned = spatial if turn is None else tuple(spatial[axis] for axis in turn.axes)
    stack, plane = turned[: int(settings.sliced)], turned[int(settings.sliced) :]
    steps = None
    if settings.spacing_mm is not None and affine is not None and settings.spacing_grid == "first_voxel":
        of_turned = affine if turn is None else grid.turned_affine(turn, affine, spatial)
        before = plane
        plane, steps = grid.first_voxel_grid(before, of_turned, settings.spacing_mm)
        if settings.interpolation == "corners" and min(*before, *plane) == 1 and set(steps) != {1.0}:
            raise ValueError(
                "an image must have at least two voxels along each axis, before and after it is resampled, because "
                f"this pipeline aligns corners, got {before} and {plane}"
            )
    elif settings.spacing_mm is not None and affine is not None:
        spacing = grid.spacing_of(affine)
        spacing = spacing if turn is None else tuple(spacing[axis] for axis in turn.axes)
        plane = grid.resampled_sizes(plane, spacing[int(settings.sliced) :], settings.spacing_mm)
    if settings.fit == "resize":
        plane, steps = settings.tile, None
    start = None
    if settings.fit == "center":
        start = tuple((size - tile) // 2 for size, tile in zip(plane, settings.tile, strict=True))
    return Frame(turn, turned, (*stack, *plane), start, steps)


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
    resampled = grid.resample_labels(turned(labels, frame), frame.sizes, frame.steps)
    return cropped(resampled, frame, settings, fill=outside)


def on_grid(values: np.ndarray, frame: Frame, settings: PipelineSettings) -> np.ndarray:
    """Values (*turned, channels) on the network's grid, float32."""
    return grid.resample(values, frame.sizes, kernel=settings.interpolation, steps=frame.steps)


def uncropped(logits: np.ndarray, frame: Frame, settings: PipelineSettings) -> np.ndarray:
    """Logits (classes, *grid) of the whole network's grid; outside a cropped centre is background."""
    if frame.start is not None:
        whole = np.full((settings.classes, *frame.sizes), BACKGROUND_LOGIT, np.float32)
        if settings.activation == "softmax":
            whole[0] = 0.0
        grid.uncrop(whole, logits, frame.start, 1 + int(settings.sliced))
        logits = whole
    return logits


def values_on_image(values: np.ndarray, frame: Frame, settings: PipelineSettings) -> np.ndarray:
    """Logits or probabilities (classes, *grid) on the image's own grid, (classes, *spatial)."""
    values = grid.resample(values, frame.turned, 1, settings.interpolation, frame.back)
    if frame.turn is not None:
        values = np.moveaxis(frame.turn.undo(np.moveaxis(values, 0, -1)), -1, 0)
    return values


def labels_on_image(labels: np.ndarray, frame: Frame, settings: PipelineSettings) -> np.ndarray:
    """A label map (*grid, ...) on the image's own grid, (*spatial, ...), each voxel with the nearest label."""
    if labels.shape[: len(frame.turned)] != frame.turned or frame.steps is not None:
        # MONAI and PyTorch resize labels by the lower edges of voxels, also where values are resized by their centres.
        labels = grid.resample_labels(labels, frame.turned, frame.back, floor=settings.interpolation != "smooth")
    return labels if frame.turn is None else np.ascontiguousarray(frame.turn.undo(labels))

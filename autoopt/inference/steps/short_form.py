"""The steps that the fields of a pipeline stand for which are not a list of steps: one order, said in few words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from autoopt.inference.steps.axes import Axes, Orient
from autoopt.inference.steps.base import Step
from autoopt.inference.steps.own_range import Percentile, ZScore
from autoopt.inference.steps.resample import Resample, Resize
from autoopt.inference.steps.values import Clip

if TYPE_CHECKING:
    from autoopt.inference.pipeline_settings import PipelineSettings

FIELDS = ("transposed", "orientation", "spacing_mm", "spacing_grid", "clip", "intensity")
"""The fields that stand for steps. With a list of steps they keep their defaults."""


def steps_of(settings: PipelineSettings) -> tuple[Step, ...]:
    """The steps of a pipeline: its list, or what its other fields stand for; with `fit` resize one that resizes."""
    if settings.steps:
        resized = (Resize(settings.tile, settings.interpolation),) if settings.fit == "resize" else ()
        return (*settings.steps, *resized)
    return tuple(_steps_of_fields(settings))


def _steps_of_fields(settings: PipelineSettings) -> Iterator[Step]:
    if settings.orientation is not None:
        yield Orient(settings.orientation)
    elif settings.transposed:
        yield Axes((1, 0))
    if settings.fit == "resize":  # at once, also where a voxel size is given: every interpolation blurs
        yield Resize(settings.tile, settings.interpolation)
    elif settings.spacing_mm is not None:
        yield Resample(settings.spacing_mm, settings.spacing_grid, settings.interpolation)
    if settings.clip is not None:
        yield Clip(low=settings.clip[0], high=settings.clip[1])
    if settings.intensity == "percentile":
        yield Percentile(low=settings.percentiles[0], high=settings.percentiles[1])
    elif settings.intensity == "zscore":
        yield ZScore()

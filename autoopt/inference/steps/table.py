"""The kinds of steps by name, and steps as JSON. To add a kind: a file in this folder, and one line here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, cast

from autoopt.core.plain_text import short
from autoopt.core.tables import Table
from autoopt.inference.steps.base import Step

STEPS = Table(
    "step of a pipeline",
    {
        "axes": "autoopt.inference.steps.axes:Axes",
        "orient": "autoopt.inference.steps.axes:Orient",
        "crop_foreground": "autoopt.inference.steps.foreground:CropForeground",
        "resample": "autoopt.inference.steps.resample:Resample",
        "resample_spline": "autoopt.inference.steps.spline:ResampleSpline",
        "resize": "autoopt.inference.steps.resample:Resize",
        "clip": "autoopt.inference.steps.values:Clip",
        "affine": "autoopt.inference.steps.values:Affine",
        "percentile": "autoopt.inference.steps.own_range:Percentile",
        "min_max": "autoopt.inference.steps.own_range:MinMax",
        "zscore": "autoopt.inference.steps.own_range:ZScore",
    },
)
"""Name of a step to its class."""


def name_of(step: Step) -> str:
    """The name of a step's kind."""
    line = f"{type(step).__module__}:{type(step).__qualname__}"
    return next(name for name, known in STEPS.items() if known == line)


def to_json(step: Step) -> dict[str, Any]:
    """A step as plain JSON: its name, and the fields."""
    fields = {name: list(item) if isinstance(item, tuple) else item for name, item in asdict(cast(Any, step)).items()}
    return {"step": name_of(step), **fields}


def from_json(value: object) -> Step:
    """What `to_json` wrote. Raises ValueError for what is no step, with what there is."""
    named = value.get("step") if isinstance(value, Mapping) else value
    if not isinstance(value, Mapping) or not isinstance(named, str) or named not in STEPS:
        raise ValueError(f"a step must be one of {', '.join(STEPS)}, got {short(named)}")
    fields = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items() if name != "step"}
    try:
        step: Step = STEPS.load(named)(**fields)
    except TypeError as error:
        raise ValueError(f"the step {named} does not take these fields: {error}") from error
    return step

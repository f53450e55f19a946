"""The steps that a bundle's transforms of the image mean, as fields of a pipeline.

Most bundles need no order of their own: turned, resampled, clipped, normalised. They are said in the fields that such
pipelines have, all others as a list of steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from autoopt.inference.steps.axes import Axes, Orient
from autoopt.inference.steps.base import Step
from autoopt.inference.steps.own_range import MinMax, Percentile, ZScore
from autoopt.inference.steps.resample import Resample, Resize
from autoopt.inference.steps.values import Affine, Clip

TRANSPOSED = Axes((1, 0))
"""What MONAI's readers do to a picture of rows and columns."""
EXTREMES = (0.0, 100.0)


def chain_fields(chain: Sequence[Step], channels: int) -> dict[str, Any]:
    """The fields of a pipeline that does these steps to images of so many channels."""
    short = _Short([1.0] * channels, [0.0] * channels)
    if all(short.takes(step) for step in chain) and min(short.gain) > 0:
        return short.all_fields()
    zeros, ones = (0.0,) * channels, (1.0,) * channels
    return {"steps": tuple(chain), "scale": 1.0, "mean": zeros, "std": ones, "fit": "tile"}


@dataclass
class _Short:
    """The fields so far; intensities become `gain * value + offset` per channel, after `clip` and `intensity`."""

    gain: list[float]
    offset: list[float]
    fields: dict[str, Any] = field(default_factory=dict)

    def all_fields(self) -> dict[str, Any]:
        """The fields, with the gain and the offset as scale, mean and std."""
        std = tuple(1 / factor for factor in self.gain)
        mean = tuple(-shift / factor for shift, factor in zip(self.offset, self.gain, strict=True))
        return {**self.fields, "scale": 1.0, "mean": mean, "std": std}

    def takes(self, step: Step) -> bool:
        """Add a step after those before; false where fields cannot say it in this place."""
        if isinstance(step, Axes | Orient):
            return self._turn(step)
        if isinstance(step, Resample | Resize):
            return self._resample(step)
        if isinstance(step, Affine):
            return self._affine(step.subtract, step.divide)
        if isinstance(step, Clip):
            return self._clip(step)
        if isinstance(step, Percentile | MinMax | ZScore):
            return self._own_range(step)
        return False

    def _turn(self, step: Axes | Orient) -> bool:
        if self.fields:
            return False
        if isinstance(step, Orient):
            self.fields["orientation"] = step.to
        else:
            self.fields["transposed"] = True
        return isinstance(step, Orient) or step == TRANSPOSED

    def _resample(self, step: Resample | Resize) -> bool:
        """Only a scale and a shift of the values may be exchanged with it."""
        if {"clip", "intensity", "spacing_mm", "fit"} & set(self.fields):
            return False
        self.fields["interpolation"] = step.kernel
        if isinstance(step, Resize):
            self.fields |= {"fit": "resize"}
        else:
            self.fields |= {"spacing_mm": step.spacing_mm, "spacing_grid": step.grid}
        return True

    def _affine(self, subtract: Sequence[float], divide: Sequence[float]) -> bool:
        count = len(self.gain)
        subtract, divide = (list(values) * (count if len(values) == 1 else 1) for values in (subtract, divide))
        if 0 in divide:
            return False
        self.offset = [(old - less) / by for old, less, by in zip(self.offset, subtract, divide, strict=True)]
        self.gain = [old / by for old, by in zip(self.gain, divide, strict=True)]
        return True

    def _clip(self, step: Clip) -> bool:
        """Values are limited before all else: the limits are turned back into units of the image."""
        same = len(set(self.gain)) == len(set(self.offset)) == 1 and self.gain[0] > 0
        if "intensity" in self.fields or not same or step.low is None or step.high is None:
            return False
        low, high = ((bound - self.offset[0]) / self.gain[0] for bound in (step.low, step.high))
        before = self.fields.get("clip", (low, high))
        self.fields["clip"] = (max(before[0], low), min(before[1], high))
        return True

    def _own_range(self, step: Percentile | MinMax | ZScore) -> bool:
        """A scale and a shift before it have no effect."""
        if "intensity" in self.fields or not (step.each_channel or len(self.gain) == 1) or min(self.gain) <= 0:
            return False
        self.gain, self.offset = [1.0] * len(self.gain), [0.0] * len(self.gain)
        if isinstance(step, ZScore):
            self.fields["intensity"] = "zscore"
            return step == ZScore(each_channel=step.each_channel)
        self.fields["intensity"] = "percentile"
        self.fields["percentiles"] = EXTREMES if isinstance(step, MinMax) else (step.low, step.high)
        low, high = step.to
        if high <= low or (isinstance(step, Percentile) and not step.clip):
            return False
        return self._affine((-low / (high - low),), (1 / (high - low),))

"""Change the values of an image by its own: between two percentiles, to mean 0 and deviation 1, to a range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from autoopt.core.plain_text import short
from autoopt.inference.steps.base import Item, Stationary, finite, listed, truth_problems

WHERE = ("all", "nonzero", "mask")
"""Whose mean and deviation are taken, and which values are changed."""


@dataclass(frozen=True)
class OwnRange(Stationary):
    """What the steps of this file have in common.

    `each_channel` takes the numbers of each channel by itself; else those of all channels that are changed together.
    `least` is the smallest range or deviation that is divided by.
    """

    each_channel: bool = True
    least: float = 1e-6

    def range_problems(self, channels: int) -> Iterator[str]:
        """What is wrong with the fields that all have."""
        yield from self.channel_problems(channels)
        yield from truth_problems("each_channel", self.each_channel)
        if not finite(self.least) or self.least <= 0:
            yield f"least must be a number above 0, got {short(self.least)}"

    def together(self, item: Item) -> np.ndarray | None:
        """The values of all changed channels, or None where each channel is taken by itself."""
        if self.each_channel:
            return None
        return item.values if self.channels is None else item.values[..., list(self.channels)]


@dataclass(frozen=True)
class Percentile(OwnRange):
    """The percentiles `low` and `high` become the two numbers `to`; with `clip` what lies outside is limited."""

    low: float = 2.0
    high: float = 98.0
    to: tuple[float, float] = (0.0, 1.0)
    clip: bool = True

    def problems(self, plane: int, stack: int, channels: int) -> Iterator[str]:
        """See `Step`."""
        yield from self.range_problems(channels)
        if not (finite(self.low) and finite(self.high) and 0 <= self.low < self.high <= 100):
            yield f"percentiles must be two rising numbers from 0 to 100, got {short((self.low, self.high))}"
        yield from _target_problems(self.to)
        yield from truth_problems("clip", self.clip)

    def apply(self, item: Item) -> tuple[Item, None]:
        """See `Step`."""
        together = self.together(item)

        def changed(values: np.ndarray, place: int) -> np.ndarray:
            of = values if together is None else together
            low, high = np.percentile(of, (self.low, self.high)).astype(np.float32)
            limited = np.clip(values, low, high) if self.clip else values
            return _to_range((limited - low) / np.maximum(high - low, np.float32(self.least)), self.to)

        return self.each(item, changed), None


@dataclass(frozen=True)
class MinMax(OwnRange):
    """The smallest and the largest value become the two numbers `to`."""

    to: tuple[float, float] = (0.0, 1.0)

    def problems(self, plane: int, stack: int, channels: int) -> Iterator[str]:
        """See `Step`."""
        yield from self.range_problems(channels)
        yield from _target_problems(self.to)

    def apply(self, item: Item) -> tuple[Item, None]:
        """See `Step`."""
        together = self.together(item)

        def changed(values: np.ndarray, place: int) -> np.ndarray:
            of = values if together is None else together
            low, high = np.float32(of.min()), np.float32(of.max())
            return _to_range((values - low) / np.maximum(high - low, np.float32(self.least)), self.to)

        return self.each(item, changed), None


@dataclass(frozen=True)
class ZScore(OwnRange):
    """Mean 0 and standard deviation 1: of `where` all values, nonzero ones, or those in the mask of a crop before.

    Only those values are changed. `subtract` and `divide` are used in place of the mean and the deviation.
    """

    where: str = "all"
    subtract: tuple[float, ...] | None = None
    divide: tuple[float, ...] | None = None

    @property
    def needs_mask(self) -> bool:
        """Whether a step before must find the foreground."""
        return self.where == "mask"

    def problems(self, plane: int, stack: int, channels: int) -> Iterator[str]:
        """See `Step`."""
        yield from self.range_problems(channels)
        if self.where not in WHERE:
            yield f"where must be one of {', '.join(WHERE)}, got {short(self.where)}"
        count = channels if not isinstance(self.channels, tuple) else len(self.channels)
        for name, numbers in (("subtract", self.subtract), ("divide", self.divide)):
            if numbers is not None and (not listed(numbers, finite) or len(numbers) not in (1, count)):
                yield f"{name} must be null, one finite number, or {count}, got {short(numbers)}"
        if isinstance(self.divide, tuple) and 0 in self.divide:
            yield f"divide must not be 0, got {short(self.divide)}"

    def apply(self, item: Item) -> tuple[Item, None]:
        """See `Step`. Raises ValueError where a mask is needed and no step before has made one."""
        if self.where == "mask" and item.mask is None:
            raise ValueError("a zscore of the mask needs a crop_foreground step before it")
        together = self.together(item)

        def changed(values: np.ndarray, place: int) -> np.ndarray:
            chosen = self._chosen(values, item.mask)
            of = values[chosen] if together is None else self._of_all(together, item.mask)
            if of.size == 0:
                return values
            mean = of.mean() if self.subtract is None else _one(self.subtract, place)
            deviation = max(of.std(), self.least) if self.divide is None else _one(self.divide, place)
            result = values.copy()
            result[chosen] = (values[chosen] - np.float32(mean)) / np.float32(deviation)
            return result

        return self.each(item, changed), None

    def _chosen(self, values: np.ndarray, mask: np.ndarray | None) -> tuple[slice, ...] | np.ndarray:
        if self.where == "all":
            return (slice(None),) * values.ndim
        nonzero: np.ndarray = values != 0
        return nonzero if self.where == "nonzero" or mask is None else mask

    def _of_all(self, values: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
        """The chosen values (*spatial, channels) of all channels."""
        if self.where == "all":
            return values
        chosen = values != 0 if self.where == "nonzero" or mask is None else mask
        return np.asarray(values[chosen])


def _one(numbers: tuple[float, ...], place: int) -> float:
    return numbers[place if len(numbers) > 1 else 0]


def _to_range(values: np.ndarray, to: tuple[float, float]) -> np.ndarray:
    low, high = to
    if (low, high) == (0.0, 1.0):
        return values
    return np.asarray(values * np.float32(high - low) + np.float32(low))


def _target_problems(to: object) -> Iterator[str]:
    if not listed(to, finite, 2):
        yield f"to must be two finite numbers, got {short(to)}"

"""Change the values of an image with fixed numbers: limit them, or take a number away and divide."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from autoopt.core.plain_text import short
from autoopt.inference.steps.base import Item, Stationary, finite, listed


@dataclass(frozen=True)
class Clip(Stationary):
    """Values limited to `low` and `high`; None does not limit that side."""

    low: float | None = None
    high: float | None = None

    def problems(self, plane: int, stack: int, channels: int) -> Iterator[str]:
        """See `Step`."""
        yield from self.channel_problems(channels)
        limits = [limit for limit in (self.low, self.high) if limit is not None]
        if not limits or not all(map(finite, limits)) or limits[0] >= [*limits, np.inf][1]:
            yield f"clip must have two rising finite numbers low and high, or one, got {short((self.low, self.high))}"

    def apply(self, item: Item) -> tuple[Item, None]:
        """See `Step`."""
        low, high = (None if limit is None else np.float32(limit) for limit in (self.low, self.high))
        return self.each(item, lambda values, place: np.clip(values, low, high)), None


@dataclass(frozen=True)
class Affine(Stationary):
    """(value - `subtract`) / `divide`, each one number, or one per channel that is changed."""

    subtract: tuple[float, ...] = (0.0,)
    divide: tuple[float, ...] = (1.0,)

    def problems(self, plane: int, stack: int, channels: int) -> Iterator[str]:
        """See `Step`."""
        yield from self.channel_problems(channels)
        count = channels if self.channels is None or not isinstance(self.channels, tuple) else len(self.channels)
        for name, numbers in (("subtract", self.subtract), ("divide", self.divide)):
            if not listed(numbers, finite) or len(numbers) not in (1, count):
                yield f"{name} must be one finite number, or {count}, got {short(numbers)}"
        if listed(self.divide, finite) and 0 in self.divide:
            yield f"divide must not be 0, got {short(self.divide)}"

    def apply(self, item: Item) -> tuple[Item, None]:
        """See `Step`."""

        def changed(values: np.ndarray, place: int) -> np.ndarray:
            subtract = self.subtract[place if len(self.subtract) > 1 else 0]
            divide = self.divide[place if len(self.divide) > 1 else 0]
            return (values - np.float32(subtract)) / np.float32(divide)

        return self.each(item, changed), None

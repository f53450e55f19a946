"""Axes of a figure: from numbers to places in the drawing, and where their ticks are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

DECADES = ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 7), (1, 1.5, 2, 3, 4, 5, 7))
"""Where a logarithmic axis may have ticks within a power of ten, from few to many."""
MOST_TICKS, LEAST_TICKS = 8, 3
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
"""Distances of ticks that people read easily, times a power of ten."""


@dataclass(frozen=True)
class Axis:
    """An axis from `low` at the place `start` to `high` at the place `end` (user units of the drawing).

    A vertical one starts below, where places are larger. `log` axes hold positive numbers only.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def at(self, value: float) -> float:
        """The place of a number, outside of the axis for one that is not on it."""
        low, high, found = (math.log(item) if self.log else item for item in (self.low, self.high, value))
        share = 0.5 if high == low else (found - low) / (high - low)
        return round(self.start + share * (self.end - self.start), 1)

    def holds(self, value: float) -> bool:
        """Whether a number is on the axis."""
        return self.low <= value <= self.high

    def ticks(self, most: int = MOST_TICKS) -> list[float]:
        """Round numbers on the axis, at most `most`."""
        if self.log:
            found = _log_ticks(self.low, self.high, most)
            if len(found) >= LEAST_TICKS:
                return found
        return _even_ticks(self.low, self.high, most)

    def text(self, value: float) -> str:
        """A tick as text: all digits that tell it from its neighbours, no more."""
        if self.log:
            return f"{value:g}"
        found = self.ticks()
        step = abs(found[1] - found[0]) if len(found) > 1 else abs(value) or 1.0
        digits = max(0, -math.floor(math.log10(step) + 1e-9))
        return f"{value:.{digits + (0 if _is_whole(step * 10**digits) else 1)}f}"


def axis(values: Sequence[float], start: float, end: float, *, log: bool = False, margin: float = 0.05) -> Axis:
    """An axis that holds all of `values` with a `margin`, a share of their span, on each side."""
    low, high = min(values), max(values)
    if log:
        low, high = math.log(low), math.log(high)
    wide = margin * (high - low) or (0.1 if log else 0.1 * abs(high) or 1.0)
    low, high = low - wide, high + wide
    return Axis(math.exp(low) if log else low, math.exp(high) if log else high, start, end, log)


def _is_whole(value: float) -> bool:
    return abs(value - round(value)) < 1e-6


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    """The most of the fixed places within powers of ten that are not too many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    best: list[float] = []
    for places in DECADES:
        found = [place * 10.0**power for power in powers for place in places]
        found = [float(f"{value:.6g}") for value in found if low <= value <= high]
        if len(found) <= most:
            best = found
    return best


def _even_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of a round number, at most `most`."""
    if high <= low:
        return [low]
    rough = (high - low) / (most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in STEPS if power * factor >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{index * step:.10g}") for index in range(first, last + 1)]

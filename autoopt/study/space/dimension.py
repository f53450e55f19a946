"""One setting of a space and the values it may take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

import numpy as np

from autoopt.core.configuration import Scalar, canonical_json
from autoopt.core.parameters import Kind

CONTINUOUS_VALUES = 17
"""How many values stand for a range without a step where points have to be listed."""


@dataclass(frozen=True)
class Dimension:
    """One setting of the space, by its dotted name: a choice (`choices`), or a range (`low`, `high`).

    One choice is a fixed setting. A range of numbers without a `step` is continuous; whole numbers
    always step by at least one. `log` draws ratios evenly and excludes a step other than one.
    """

    name: str
    kind: Kind
    choices: tuple[Scalar, ...] = ()
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False

    @property
    def section(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    @property
    def key(self) -> str:
        """The part of the name after the dot."""
        return self.name.partition(".")[2]

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to choose."""
        return len(self.choices) == 1

    @property
    def continuous(self) -> bool:
        """Whether the values cannot be listed."""
        return not self.choices and self.kind == "number" and self.step is None

    @property
    def size(self) -> float:
        """How many values there are; infinite for a continuous range."""
        if self.choices:
            return len(self.choices)
        return math.inf if self.continuous else self._intervals + 1

    def values(self) -> Sequence[Scalar]:
        """All values in order; an even grid with both ends for a continuous range."""
        if self.choices:
            return self.choices
        if self.continuous:
            ends = self._bounds
            grid = np.geomspace(*ends, CONTINUOUS_VALUES) if self.log else np.linspace(*ends, CONTINUOUS_VALUES)
            return [ends[0], *(float(value) for value in grid[1:-1]), ends[1]]
        return _Steps(self)

    def draw(self, rng: np.random.Generator) -> Scalar:
        """A random value, even over the choices or the range (over its logarithm with `log`)."""
        if self.choices:
            return self.choices[int(rng.integers(len(self.choices)))]
        low, high = self._bounds
        if not self.log and not self.continuous:
            return self.value_at(int(rng.integers(self._intervals + 1)))
        if not self.log:
            return float(rng.uniform(low, high))
        drawn = min(max(math.exp(rng.uniform(math.log(low), math.log(high))), low), high)
        return round(drawn) if self.kind == "integer" else drawn

    def has(self, value: Scalar) -> bool:
        """Whether `value` can be drawn; true and 1 differ, 1 and 1.0 do not."""
        if self.choices:
            return any(_same(value, choice) for choice in self.choices)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        low, high = self._bounds
        if not low <= value <= high:
            return False
        whole = self.kind != "integer" or value == int(value)
        return self.continuous or (whole and math.isclose(self._snapped(value), value, abs_tol=1e-12))

    def snap(self, value: Scalar) -> Scalar:
        """`value` without the rounding error of a sampler: exactly one of the steps."""
        if self.choices or self.continuous or isinstance(value, bool) or not isinstance(value, int | float):
            return value
        return self._snapped(value)

    def nearest(self, wanted: Scalar) -> Scalar:
        """`wanted` if it can be drawn, else the closest number, else the first value."""
        values = self.values()
        if self.has(wanted):
            return wanted
        if isinstance(wanted, bool) or not isinstance(wanted, int | float):
            return values[0]
        if not self.choices and self.continuous:
            low, high = self._bounds
            return min(max(float(wanted), low), high)
        numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
        return min(numbers, key=lambda value: abs(value - wanted), default=values[0])

    def describe(self) -> dict[str, object]:
        """What the dimension allows, as plain data; the order of choices does not matter."""
        if self.choices:
            return {"choices": sorted(self.choices, key=canonical_json)}
        return {"kind": self.kind, "low": self.low, "high": self.high, "step": self.step, "log": self.log}

    @property
    def _bounds(self) -> tuple[float, float]:
        assert self.low is not None and self.high is not None
        return self.low, self.high

    @cached_property
    def _intervals(self) -> int:
        low, high = (Decimal(str(bound)) for bound in self._bounds)
        return int((high - low) / Decimal(str(self.step or 1)))

    def _snapped(self, value: float) -> int | float:
        index = round((value - self._bounds[0]) / (self.step or 1))
        return self.value_at(min(max(index, 0), self._intervals))

    def value_at(self, index: int) -> int | float:
        """The value `index` steps above `low`, in decimal arithmetic: 0.1 + 2 * 0.1 is 0.3."""
        exact = Decimal(str(self._bounds[0])) + index * Decimal(str(self.step or 1))
        return int(exact) if self.kind == "integer" else float(exact)


class _Steps(Sequence[Scalar]):
    """The values of a stepped range, computed when asked for: a range may have millions."""

    def __init__(self, dimension: Dimension) -> None:
        self._dimension = dimension

    def __len__(self) -> int:
        return int(self._dimension.size)

    def __getitem__(self, index: int) -> Scalar:  # type: ignore[override]  # slices are not needed
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._dimension.value_at(index)


def _same(a: Scalar, b: Scalar) -> bool:
    return a == b and isinstance(a, bool) == isinstance(b, bool)

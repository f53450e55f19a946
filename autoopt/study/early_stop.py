"""When a search ends before its budget: nothing is to be expected of what is left to propose.

The model of the space says what each proposal may add to the hypervolume of the front (surrogate.py). Where the best of
`PATIENCE` in a row promises less than `MOST_GAIN`, and less than the noise of the measured numbers moves the
hypervolume by, more trials would only follow chance.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

PATIENCE = 5
"""So many proposals in a row must promise too little: a model that was just taught may be wrong for a while."""
MOST_GAIN = 0.0015
"""Of the hypervolume: what promises more is tried, however noisy the numbers are. docs/benchmarks.md: what it costs."""
OPTION = "--no-early-stop"

Noise = Callable[[], float]
"""What the noise of the numbers moves the hypervolume of the front by, as a share of it."""


@dataclass(frozen=True)
class EarlyStop:
    """That a search of `budget` trials ended after `trials`, and why.

    The best proposals promised at most `gain`, the noise of the numbers is `noise`, both as shares of the hypervolume.
    """

    budget: int
    trials: int
    gain: float
    noise: float

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `asdict` made of one. Raises ValueError, TypeError or KeyError for anything else."""
        return cls(int(value["budget"]), int(value["trials"]), float(value["gain"]), float(value["noise"]))

    @property
    def left(self) -> int:
        """The trials of the budget that were not spent."""
        return max(0, self.budget - self.trials)

    @property
    def reason(self) -> str:
        """Why it ended, how many trials are left, and what goes on."""
        return (
            f"nothing more is to be expected: the last {PATIENCE} proposals promised at most {self.gain:.2%} more "
            f"hypervolume, the noise of the numbers makes {self.noise:.2%} "
            f"({self.left} of {self.budget} trials are left; {OPTION} or a larger budget goes on)"
        )


class Promises:
    """What the last proposals promised, None where nobody knows."""

    def __init__(self) -> None:
        self._gains: deque[float | None] = deque(maxlen=PATIENCE)

    def add(self, gain: float | None) -> None:
        """The best gain that was expected when something was proposed, as a share of the hypervolume."""
        self._gains.append(gain)

    def too_small(self, noise: Noise) -> tuple[float, float] | None:
        """The largest gain and the noise, where the noise is larger; None where something is worth a trial."""
        gains = [gain for gain in self._gains if gain is not None]
        if len(gains) < PATIENCE or max(gains) >= MOST_GAIN:
            return None
        level = noise()
        return (max(gains), level) if max(gains) < level else None

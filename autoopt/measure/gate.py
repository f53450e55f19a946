"""Whether a model became slower: its time over that of a probe beside it, then and now, with an interval.

Pure functions of numbers that were measured elsewhere. `LogRatio` is what `stats.paired_ratio` makes of the rounds in
which a model and the probe took turns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import variance

from autoopt.core.stats import CONFIDENCE, PRIOR_DEGREES, LogRatio, normal_quantile

USUAL_GATE = 1.1
"""A slowdown that is tolerated, unless said otherwise."""


@dataclass(frozen=True)
class Slowdown:
    """How many times longer a call takes than before, on a host of the same speed.

    `low` and `high` are its one-sided bounds of 95 %, so that it lies between them nine times in ten.
    """

    ratio: float
    low: float
    high: float

    @property
    def significant(self) -> bool:
        """Whether it is surely slower, as far as noise between processes and load tell: the probe itself may drift."""
        return self.low > 1

    def fails(self, gate: float) -> bool:
        """Whether it is surely slower, and by more than `gate` (1.1 is 10 %)."""
        return self.significant and self.ratio > gate

    def outside(self, band: tuple[float, float]) -> bool:
        """Whether all of the interval is outside of a band of ratios."""
        return self.low > band[1] or self.high < band[0]

    def __str__(self) -> str:
        return f"{self.ratio:.2f} times the time (90 % interval {self.low:.2f} to {self.high:.2f})"


LOAD_ERROR = 0.25
"""The standard error of a ratio, in logarithms, where other programs take all of the processor; less where they take a
part of it. On a host half of which was taken, ratios of one model an hour apart differed by up to 0.35."""


SESSION_ERROR = 0.1
"""The standard error of a ratio, in logarithms, from one hour to another on an idle host: of 56 checks of two models
against themselves it lets one fail with a gate of 1.1, where without it seven failed, all of calls of 3 ms."""


def slowdown(
    before: LogRatio,
    now: LogRatio,
    sigma: float,
    foreign: tuple[float, float] = (0.0, 0.0),
    *,
    session_error: float = SESSION_ERROR,
) -> Slowdown:
    """The ratio of two ratios to the same probe, measured at different times on hosts of one kind.

    `sigma` is the usual standard deviation of log latency between processes of one model, by which few processes that
    happen to be alike are not believed; where they differ by more, that counts. The degrees of freedom of the two
    errors are joined as Satterthwaite (1946) and Welch do. `foreign` is the share of the processor that other programs
    took then and now: they never slow model and probe quite alike. `session_error` is what else changes from one time
    to another, 0 for two that were measured together.
    """
    sides = [_variance(side, sigma) for side in (before, now)]
    sides = [
        (squared + (LOAD_ERROR * share) ** 2, count) for (squared, count), share in zip(sides, foreign, strict=True)
    ]
    total = session_error**2 + sum(squared for squared, _ in sides)
    parts = sum(squared**2 / degrees for squared, degrees in sides)
    joined = total**2 / parts if parts > 0 else math.inf
    reach = student_quantile(CONFIDENCE, joined) * math.sqrt(total)
    value = now.value - before.value
    return Slowdown(math.exp(value), math.exp(value - reach), math.exp(value + reach))


def _variance(side: LogRatio, sigma: float) -> tuple[float, int]:
    """The squared error of a ratio, and its degrees of freedom."""
    count = side.processes
    expected = side.with_process_noise(sigma).error ** 2
    seen = variance(side.values) / count if count > 1 else 0.0
    # Weighed against a quiet study, what a busy host does to the processes would be made small.
    return (seen, count - 1) if seen > expected else (expected, count - 1 + PRIOR_DEGREES)


def student_quantile(probability: float, degrees: float) -> float:
    """The quantile of Student's t distribution, within 0.5 % for 2 degrees or more, without scipy.

    By the expansion in 1 / `degrees` of Abramowitz and Stegun (1964), 26.7.5.
    """
    z = normal_quantile(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / degrees ** (power + 1) for power, term in enumerate(terms))

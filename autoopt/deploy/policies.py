"""The policies of `pull`: which of several models is taken, told by their numbers alone, wherever these were read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from autoopt.core import pareto
from autoopt.study.numbers import objectives


@dataclass(frozen=True)
class Candidate:
    """A model that may be picked: its `number`, and by objective its numbers in SI units, all to be minimised.

    `noise` says of objectives how far one may be off: half of its 95 % interval, in logarithms where ratios count. What
    is not in it is taken for exact.
    """

    number: int
    minimised: Mapping[str, float]
    noise: Mapping[str, float] = field(default_factory=dict)


Policy = Callable[[Sequence[Candidate], Sequence[str]], Candidate]
"""Takes one of at least one candidate; the names are the objectives that were searched."""


def default_policy(*, latency_limited: bool, quality_limited: bool) -> str:
    """The policy when none is named: the number that was not limited is optimised.

    With a limit on the quality but none on the latency the fastest, the other way round the best quality, else the
    balanced one.
    """
    if latency_limited == quality_limited:
        return "balanced"
    return "fastest" if quality_limited else "best-quality"


def log_points(candidates: Sequence[Candidate], names: Sequence[str]) -> np.ndarray:
    """The objectives `names` of the candidates (candidates, objectives), logarithms where ratios count."""
    points = np.array([[item.minimised[name] for name in names] for item in candidates], np.float64)
    for column, name in enumerate(names):
        number = objectives()[name]
        if number.log:
            points[:, column] = number.logarithms(points[:, column])
    return points


def _fastest(candidates: Sequence[Candidate], names: Sequence[str]) -> Candidate:
    return min(candidates, key=lambda item: _order(item, "latency", "quality", "size"))


def _best_quality(candidates: Sequence[Candidate], names: Sequence[str]) -> Candidate:
    return min(candidates, key=lambda item: _order(item, "quality", "latency", "size"))


def _smallest(candidates: Sequence[Candidate], names: Sequence[str]) -> Candidate:
    return min(candidates, key=lambda item: _order(item, "size", "latency", "quality"))


def _balanced(candidates: Sequence[Candidate], names: Sequence[str]) -> Candidate:
    """The knee of the front in all objectives of the study; those whose ratios matter enter as logarithms.

    An objective in which the members differ by less than their noise decides little.
    """
    ordered = sorted(candidates, key=lambda item: _order(item, "latency", "quality", "size"))
    noise = [max(item.noise.get(name, 0.0) for item in ordered) for name in names]
    return ordered[pareto.knee(log_points(ordered, names), noise)]


def _order(item: Candidate, *names: str) -> tuple[float, ...]:
    """The sort key of a candidate: the named objectives, smallest first, then its number."""
    return (*(item.minimised[name] for name in names), item.number)


POLICIES: dict[str, Policy] = {
    "fastest": _fastest,
    "balanced": _balanced,
    "best-quality": _best_quality,
    "smallest": _smallest,
}
"""Name to policy: what `--pick` takes, and the aliases in a registry."""
PICKS = tuple(POLICIES)
REASONS = {
    "fastest": "it has the smallest p25 latency",
    "balanced": "it is the knee of the front, beyond which each gain costs more than it brings",
    "best-quality": "it has the best {primary}",
    "smallest": "it has the smallest files",
}
"""Why a policy takes a model, for a sentence; a policy that is not in it is named by its name alone."""

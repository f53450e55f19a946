"""Quality: the scores of every case, and their aggregate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from autoopt.core import stats

DISAGREEMENT = "disagreement"
"""The score that compares a prediction with that of the source model, not with the reference labels."""


@dataclass(frozen=True)
class CaseScore:
    """The scores of one case; a score that is not defined for it is None and is counted. `tags` name its subgroups."""

    id: str
    group: str
    scores: Mapping[str, float | None]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Quality:
    """Per-case scores on one split and their aggregate by the named `rule`.

    `undefined` counts, per metric, the cases with no defined score; they are never silently dropped. `pseudo` holds, of
    metrics that only a whole split has, the jackknife's pseudo-value of each group (Tukey 1958), whose mean estimates
    the metric. `left_out` counts the cases that were not predicted, because a few told that too much is lost; the
    values are then estimates, and the trial cannot be feasible. `errors` are the metrics of which less is better.
    """

    split: str
    primary: str
    rule: str
    values: Mapping[str, float]
    cases: tuple[CaseScore, ...]
    undefined: Mapping[str, int] = field(default_factory=dict)
    pseudo: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    left_out: int = 0
    errors: tuple[str, ...] = ()

    @property
    def value(self) -> float:
        """The aggregate of the primary metric."""
        return self.values[self.primary]

    @property
    def less_is_better(self) -> bool:
        """Whether the primary metric is an error."""
        return self.primary in self.errors

    @property
    def worth(self) -> float:
        """The primary metric, with its sign turned where less of it is better: more is always better."""
        return self.sign() * self.value

    def sign(self, metric: str | None = None) -> float:
        """-1 for a metric (by default the primary one) of which less is better, else 1."""
        return -1.0 if (metric or self.primary) in self.errors else 1.0

    def worth_by_group(self, metric: str | None = None) -> dict[str, float]:
        """`by_group` with the sign of `sign`: more is always better."""
        sign = self.sign(metric)
        return {group: sign * value for group, value in self.by_group(metric).items()}

    def among(self, cases: Sequence[CaseScore]) -> Quality:
        """The same on `cases` only, as far as their own scores tell: without what only a whole split has."""
        wanted = {case.id for case in cases}
        kept = tuple(case for case in self.cases if case.id in wanted)
        names = list(dict.fromkeys(name for case in kept for name in case.scores))
        scores = {name: [case.scores.get(name) for case in kept] for name in names}
        groups = [case.group for case in kept]
        return replace(
            self,
            values={
                name: stats.mean_over_groups(column, groups)
                for name, column in scores.items()
                if any(value is not None for value in column)
            },
            cases=kept,
            undefined={name: column.count(None) for name, column in scores.items()},
            pseudo={},
        )

    def by_group(self, metric: str | None = None) -> dict[str, float]:
        """The metric (by default the primary one) of each group, whose mean is the aggregate; empty where not known."""
        name = metric or self.primary
        if name in self.pseudo:
            return dict(self.pseudo[name])
        if not any(name in case.scores for case in self.cases):
            return {}
        if name not in self._means:  # one quality is compared again and again while a study grows
            scores = [case.scores.get(name) for case in self.cases]
            self._means[name] = stats.group_means(scores, [case.group for case in self.cases])
        return dict(self._means[name])

    @cached_property
    def _means(self) -> dict[str, dict[str, float]]:
        """The metrics by group that were asked for so far."""
        return {}


def quality_from_json(value: Mapping[str, Any]) -> Quality:
    """The quality that `dataclasses.asdict` turned into JSON."""
    cases = tuple(CaseScore(**case) for case in value["cases"])
    return Quality(**{**value, "cases": cases, "errors": tuple(value.get("errors", ()))})

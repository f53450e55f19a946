"""What single patients, labels and subgroups lost against the reference, read from records alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autoopt.core import stats
from autoopt.core.scores import CaseScore, Quality
from autoopt.study.limits import LABEL_METRIC

SHOWN_DIGITS = 4
"""Decimals of scores in a report."""
MOST_SUBGROUPS = 20
"""A column of the cases with more values is no grouping of patients."""


@dataclass(frozen=True)
class Loss:
    """A metric before and after, of one patient or case; `lost` is positive where it became worse."""

    name: str
    before: float
    after: float
    lost: float

    @property
    def shows(self) -> bool:
        """Whether anything is lost in the digits that are shown."""
        return round(self.lost, SHOWN_DIGITS) > 0


@dataclass(frozen=True)
class GroupLoss:
    """The mean of a metric before and after over `patients` of one kind.

    `lost` is the mean loss, `upper` its one-sided 95 % bound, None where one patient says nothing of others.
    """

    kind: str
    name: str
    patients: int
    before: float
    after: float
    lost: float
    upper: float | None

    @property
    def title(self) -> str:
        """The kind and the name, such as: grade: irregular."""
        return f"{self.kind}: {self.name}" if self.name else self.kind


def shown_metric(before: Quality, after: Quality) -> str | None:
    """The metric that single cases are compared by: the primary one, or the first that cases have; None without one."""
    names = [before.primary, *before.values]
    return next((name for name in names if _has_cases(before, name) and _has_cases(after, name)), None)


def losses(before: Quality, after: Quality, metric: str) -> tuple[str, list[Loss]]:
    """What each patient lost in `metric`, worst first, and the word for one of them.

    Of a single patient the cases are listed instead.
    """
    first, second = _by_group(before, metric), _by_group(after, metric)
    word = "patient"
    if len(first) < 2:
        first, second = _by_case(before, metric), _by_case(after, metric)
        word = "case"
    return word, _sorted(first, second, before.sign(metric))


def case_losses(before: Quality, after: Quality, metric: str) -> list[Loss]:
    """What each case lost in `metric`, worst first; of those that lost as much the one with the worse score first."""
    return _sorted(_by_case(before, metric), _by_case(after, metric), before.sign(metric))


def group_losses(before: Quality, after: Quality, labels: Sequence[str]) -> list[GroupLoss]:
    """The losses of all patients, of each of `labels` that was scored, and of each subgroup, in this order.

    Subgroups are the values of the columns of the cases (`CaseScore.tags`), compared by `shown_metric`.
    """
    metric = shown_metric(before, after)
    if metric is None:
        return []
    found = [_group_loss("all patients", "", metric, before, after)]
    for label in labels:
        name = f"{LABEL_METRIC}{label}"
        if name != metric and _has_cases(before, name) and _has_cases(after, name):
            found.append(_group_loss("label", label, name, before, after))
    for column, value in _subgroups(after):
        parts = [quality.among(_tagged(quality, column, value)) for quality in (before, after)]
        found.append(_group_loss(column, value, metric, *parts))
    return [loss for loss in found if loss is not None]


def _group_loss(kind: str, name: str, metric: str, before: Quality, after: Quality) -> GroupLoss | None:
    first, second = _by_group(before, metric), _by_group(after, metric)
    common = [group for group in first if group in second]
    if not common:
        return None
    values = np.array([[first[group], second[group]] for group in common])
    drop = stats.paired_drop(*(before.sign(metric) * values).T)
    upper = max(drop.value, drop.upper) if math.isfinite(drop.upper) else None
    means = values.mean(axis=0)
    return GroupLoss(kind, name, len(common), float(means[0]), float(means[1]), drop.value, upper)


def _subgroups(quality: Quality) -> Iterator[tuple[str, str]]:
    """The columns that divide the cases into a few groups, with each of their values."""
    columns = dict.fromkeys(column for case in quality.cases for column in case.tags)
    for column in columns:
        values = sorted({case.tags[column] for case in quality.cases if column in case.tags})
        if 1 < len(values) <= min(MOST_SUBGROUPS, len(quality.cases) - 1):
            yield from ((column, value) for value in values)


def _tagged(quality: Quality, column: str, value: str) -> list[CaseScore]:
    return [case for case in quality.cases if case.tags.get(column) == value]


def _has_cases(quality: Quality, metric: str) -> bool:
    return any(case.scores.get(metric) is not None for case in quality.cases)


def _by_group(quality: Quality, metric: str) -> dict[str, float]:
    scores = [case.scores.get(metric) for case in quality.cases]
    return stats.group_means(scores, [case.group for case in quality.cases])


def _by_case(quality: Quality, metric: str) -> dict[str, float]:
    return {case.id: score for case in quality.cases if (score := case.scores.get(metric)) is not None}


def _sorted(first: Mapping[str, float], second: Mapping[str, float], sign: float) -> list[Loss]:
    common = [(name, first[name], second[name]) for name in first if name in second]
    found = [Loss(name, before, after, sign * (before - after)) for name, before, after in common]
    return sorted(found, key=lambda loss: (-loss.lost, sign * loss.after, loss.name))

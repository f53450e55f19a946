"""Two stored studies held against each other: what they share, what makes that doubtful, where either is better."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby

import numpy as np

from autoopt.core import pareto, stats
from autoopt.core.configuration import Configuration, Scalar
from autoopt.core.records import TrialRecord
from autoopt.report.trial_diff import Setting, paired_drop, settings_between
from autoopt.study import uncertainty
from autoopt.study.result import StudyResult

MARGIN = 0.1
"""The worst corner of a common hypervolume is beyond the worst member by this share of the span."""
SHORT_SEARCH = 1.5
"""A study with so many times the trials of the other one tried more."""


@dataclass(frozen=True)
class Counterpart:
    """A member of the front of one study, and what is nearest to it in the other one.

    `first` and `second` are trials of the first and the second study; `settings` is what differs between their
    configurations, nothing where they are the same. `slower` is the latency of `second` over that of `first`, None
    where what is timed differs; `drop` what the quality loses from `first` to `second`, paired over patients, None
    where data or metric differ.
    """

    first: TrialRecord
    second: TrialRecord
    settings: tuple[Setting, ...]
    slower: stats.LogRatio | None
    drop: stats.Drop | None


@dataclass(frozen=True)
class Stretch:
    """A range of latencies, in seconds, and what each study has to offer within its upper end.

    `first` and `second` are the best trials that are not slower, None where a study has none; `better` is the place (0
    or 1) of the study whose trial is surely better, None where the patients tell no difference.
    """

    from_s: float
    to_s: float
    first: TrialRecord | None
    second: TrialRecord | None
    better: int | None


@dataclass(frozen=True)
class Dominance:
    """How much of what both fronts dominate together each dominates: shares of the area of log latency and quality.

    `only` are the shares that one study alone dominates, `both` what both do; they add up to 1.
    """

    only: tuple[float, float]
    both: float
    stretches: tuple[Stretch, ...]


@dataclass(frozen=True)
class StudyComparison:
    """Two studies; what follows from holding them against each other is derived, once."""

    first: StudyResult
    second: StudyResult

    @property
    def studies(self) -> tuple[StudyResult, StudyResult]:
        """Both, in the order in which they were given."""
        return self.first, self.second

    @property
    def same_host(self) -> bool:
        """Whether both were measured on one host with the same versions of the libraries."""
        return self.first.card.host.fingerprint == self.second.card.host.fingerprint

    @property
    def one_study(self) -> bool:
        """Whether both are copies of one study, whose common trials were measured once."""
        return bool(self.first.card.id) and self.first.card.id == self.second.card.id

    @property
    def same_scores(self) -> bool:
        """Whether the qualities are those of one metric on the same data."""
        return len({(s.card.data_digest, *_metric(s)) for s in self.studies}) == 1

    @cached_property
    def one_reference(self) -> bool:
        """Whether both measured beside the same network in the same runtime on one host: then drift cancels."""
        references = [study.reference for study in self.studies]
        labels = {None if reference is None else reference.label for reference in references}
        cards = {(s.card.weights_digest, s.card.latency, str(s.card.pipeline)) for s in self.studies}
        return self.same_host and len(labels) == 1 and None not in labels and len(cards) == 1

    @cached_property
    def doubts(self) -> tuple[str, ...]:
        """What makes the comparison doubtful, in plain words, the worst first; nothing where it is fair."""
        return tuple(_doubts(self))

    @cached_property
    def why_not(self) -> str:
        """Why neither front can be said to be better; empty where that can be said."""
        one, other = self.studies
        if one.card.latency != other.card.latency:
            return f"what is timed differs: one {one.card.latency}, one {other.card.latency}"
        if _metric(one) != _metric(other):
            return f"the metrics differ: {one.card.primary} and {other.card.primary}"
        empty = [study.card.name for study in self.studies if not study.front]
        return f"{_with(empty)} no front" if empty else ""

    @cached_property
    def counterparts(self) -> tuple[tuple[Counterpart, ...], tuple[Counterpart, ...]]:
        """Of the members of the first front the nearest trials of the second study, and the other way round."""
        mine = [(member, nearest(member, self.second)) for member in self.first.front]
        theirs = [(nearest(member, self.first), member) for member in self.second.front]
        return (
            tuple(self._beside(member, other) for member, other in mine if other is not None),
            tuple(self._beside(other, member) for other, member in theirs if other is not None),
        )

    @cached_property
    def dominance(self) -> Dominance | None:
        """Which study is better where, as measured; None where `why_not` says why."""
        return None if self.why_not else _dominance(self)

    def slower(self, first: TrialRecord, second: TrialRecord) -> stats.LogRatio | None:
        """The latency of `second` over that of `first`; None where what is timed differs.

        Beside one reference it is relative to that, so that what the host did meanwhile cancels; else as measured.
        """
        if self.first.card.latency != self.second.card.latency:
            return None
        sigma = max(study.sigma for study in self.studies)
        found = uncertainty.slower(second.measured, first.measured, sigma)
        if self.one_reference:
            return found
        return stats.LogRatio(math.log(second.measured.latency_p25_s / first.measured.latency_p25_s), found.error)

    def drop(self, first: TrialRecord, second: TrialRecord) -> stats.Drop | None:
        """What the quality loses from `first` to `second` on the same patients; None where that cannot be told."""
        if not self.same_scores or first.quality is None or second.quality is None:
            return None
        return paired_drop(first.quality, second.quality)

    def _beside(self, first: TrialRecord, second: TrialRecord) -> Counterpart:
        settings = tuple(settings_between(first.configuration, second.configuration))
        return Counterpart(first, second, settings, self.slower(first, second), self.drop(first, second))


def nearest(record: TrialRecord, study: StudyResult) -> TrialRecord | None:
    """The measured and scored trial of a study whose configuration is nearest; None where it has none."""
    known = (other for other in study.judged if other.measurement is not None and other.quality is not None)
    return min(
        known, key=lambda other: (distance(record.configuration, other.configuration), other.number), default=None
    )


def distance(one: Configuration, other: Configuration) -> float:
    """How far two configurations are apart, 0 where they are the same: the sum over their sections.

    A section adds 1 where it is off in one of them only, or where another runtime is named; else the mean over its
    settings (Gower 1971): of numbers the difference over the larger one, of others 1 where they differ.
    """
    first, second = one.sections(), other.sections()
    found = 0.0
    for name in first.keys() | second.keys():
        mine, theirs = first.get(name), second.get(name)
        if mine is None or theirs is None:
            found += mine is not theirs
        elif mine.get("name") != theirs.get("name"):
            found += 1.0
        else:
            found += _apart(mine, theirs)
    return found


def _apart(mine: Mapping[str, Scalar], theirs: Mapping[str, Scalar]) -> float:
    keys = mine.keys() | theirs.keys()
    return sum(_between(mine.get(key), theirs.get(key)) for key in keys) / max(1, len(keys))


def _between(one: Scalar, other: Scalar) -> float:
    numbers = [value for value in (one, other) if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < 2 or one == other:
        return float(one != other)
    return min(1.0, abs(numbers[0] - numbers[1]) / max(map(abs, numbers)))


def _metric(study: StudyResult) -> tuple[str, bool, str]:
    card = study.card
    return card.primary, card.less_is_better, str(card.own_metrics.get(card.primary))


def _doubts(both: StudyComparison) -> Iterator[str]:
    one, other = (study.card for study in both.studies)
    if both.one_study:
        yield "Both are copies of one study: trials that both have were measured once, not twice."
    if one.workload != other.workload:
        yield f"They are of two workloads, {one.title} and {other.title}."
    if one.data_digest != other.data_digest:
        yield "They were scored on other data: a difference in quality may be that of the patients."
    if _metric(both.first) != _metric(both.second):
        yield f"They were scored by other metrics, {one.primary} and {other.primary}."
    if one.weights_digest != other.weights_digest:
        yield "The networks were trained otherwise (other weights): a difference may be that of the training."
    if one.latency != other.latency:
        yield f"What is timed differs: one {one.latency} in the first, one {other.latency} in the second."
    elif not both.same_host:
        yield _hosts(both)
    yield from _references(both)
    if dict(one.pipeline) != dict(other.pipeline):
        yield "What happens to an image before and after the network differs."
    counts = sorted(len(study.records) for study in both.studies)
    if counts[1] > SHORT_SEARCH * max(1, counts[0]):
        yield f"One tried {counts[1]} configurations, the other {counts[0]}: a longer search finds more."


def _hosts(both: StudyComparison) -> str:
    one, other = (study.card.host for study in both.studies)
    if (one.cpu, one.cores) != (other.cpu, other.cores):
        what = f"They were measured on different hosts, {one.cpu} ({one.cores} cores) and {other.cpu} ({other.cores})"
        return f"{what}: a difference in latency may be that of the hosts."
    names = [name for name in one.versions if one.versions.get(name) != other.versions.get(name)]
    changed = [f"{name} {one.versions.get(name)} and {other.versions.get(name, 'none')}" for name in names]
    why = f"other versions ({', '.join(changed)})" if changed else "other settings of the system"
    return f"They were measured on one kind of host with {why}: a difference in latency may be that of these."


def _references(both: StudyComparison) -> Iterator[str]:
    one, other = (study.reference for study in both.studies)
    if one is None or other is None:
        lacking = [study.card.name for study in both.studies if study.reference is None]
        yield f"{_with(lacking)} no reference to measure against.".replace("study", "Study", 1)
    elif one.label != other.label:
        yield f"They have other references, {one.label} and {other.label}: drops and speed-ups are over these."


def _dominance(both: StudyComparison) -> Dominance:
    points = [_points(study.front) for study in both.studies]
    together = np.concatenate(points)
    worst, best = together.max(axis=0), together.min(axis=0)
    span = np.where(worst > best, worst - best, 1.0)
    corner = worst + MARGIN * span
    volumes = [pareto.hypervolume(item, corner) for item in points]
    union = pareto.hypervolume(together, corner)
    only = (1 - volumes[1] / union, 1 - volumes[0] / union)
    return Dominance(only, max(0.0, 1 - sum(only)), tuple(_stretches(both)))


def _points(front: Sequence[TrialRecord]) -> np.ndarray:
    """Log latency and quality of members, both to be minimised: (members, 2)."""
    pairs = [(math.log(r.measured.latency_p25_s), -r.quality.worth) for r in front if r.quality is not None]
    return np.array(pairs, dtype=np.float64)


def _stretches(both: StudyComparison) -> Iterator[Stretch]:
    """From the fastest member of both fronts on, joined while the same study is better."""
    fronts = [study.front for study in both.studies]
    starts = sorted({record.measured.latency_p25_s for front in fronts for record in front})
    found = []
    for start, end in zip(starts, [*starts[1:], math.inf], strict=True):
        first, second = (_best(front, start) for front in fronts)
        found.append(Stretch(start, end, first, second, _better(both, first, second)))
    for _, group in groupby(found, key=lambda item: (item.better, item.first is None, item.second is None)):
        alike = list(group)
        yield replace(alike[-1], from_s=alike[0].from_s)


def _best(front: Sequence[TrialRecord], most_s: float) -> TrialRecord | None:
    """The best member that takes at most so long."""
    within = [r for r in front if r.measured.latency_p25_s <= most_s and r.quality is not None]
    return max(within, key=lambda r: r.quality.worth if r.quality is not None else -math.inf, default=None)


def _better(both: StudyComparison, first: TrialRecord | None, second: TrialRecord | None) -> int | None:
    if first is None or second is None:
        return 0 if second is None else 1
    assert first.quality is not None and second.quality is not None
    difference = first.quality.worth - second.quality.worth
    drop = both.drop(first, second)
    if difference == 0 or (drop is not None and drop.tied):
        return None
    return 0 if difference > 0 else 1


def _with(names: Sequence[str]) -> str:
    """Such as: study a has; study a and study b have."""
    return f"study {' and study '.join(names)} {'has' if len(names) == 1 else 'have'}"

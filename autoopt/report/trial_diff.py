"""Two stored trials held against each other: settings, what really ran, speed, quality case by case. Nothing is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from autoopt.core import stats
from autoopt.core.configuration import Configuration, Scalar
from autoopt.core.records import TrialRecord
from autoopt.core.scores import Quality
from autoopt.errors import UsageError
from autoopt.study import uncertainty
from autoopt.study.named import named_study
from autoopt.study.replay import parse_trial, trial_of
from autoopt.study.request import HOME, default_storage
from autoopt.study.result import SETTLED, StudyResult
from autoopt.study.storage import read_study

WORST = 5
"""So many of the cases that lost most are told."""
OFF, NOT_SET = "off", "not set"


@dataclass(frozen=True)
class Side:
    """One of the two trials, and the study that it is of."""

    study: StudyResult
    record: TrialRecord

    @property
    def name(self) -> str:
        """Such as: #12."""
        return f"#{self.record.number}"


@dataclass(frozen=True)
class Setting:
    """A setting that differs, with both values; a step that is off in one of them is one setting."""

    name: str
    before: Scalar
    after: Scalar


@dataclass(frozen=True)
class PairedCase:
    """The primary metric of a case in both trials, None where it is not defined. `lost` is positive where it got worse,
    whichever way is better."""

    id: str
    group: str
    before: float | None
    after: float | None
    lost: float | None


@dataclass(frozen=True)
class TrialDiff:
    """What changes from the trial `before` to the trial `after`.

    `settings` are those of the configuration that differ, `effective` those that the runtime read back. `latency` is
    the latency of `after` over that of `before`, None where `no_latency` says why it cannot be told. `drop` is what
    the primary metric lost on val, paired over patients, `test_drop` on test; None where no values of single
    patients are known, on test also where one of them was not scored. `cases` are those of val that both were scored
    on.
    """

    before: Side
    after: Side
    settings: tuple[Setting, ...]
    effective: tuple[Setting, ...]
    latency: stats.LogRatio | None
    no_latency: str
    drop: stats.Drop | None
    test_drop: stats.Drop | None
    cases: tuple[PairedCase, ...]

    @property
    def metric(self) -> str:
        """The primary metric."""
        return self.before.study.card.primary

    @property
    def tally(self) -> Mapping[str, int]:
        """How many cases are better, worse and equal in `after`, and in how many the metric is not defined."""
        lost = [case.lost for case in self.cases]
        return {
            "better": sum(value is not None and value < 0 for value in lost),
            "worse": sum(value is not None and value > 0 for value in lost),
            "equal": sum(value == 0 for value in lost),
            "undefined": lost.count(None),
        }

    @property
    def worst(self) -> tuple[PairedCase, ...]:
        """The cases that lost most, at most `WORST`, the worst one first; only such that lost something."""
        losing = [(case.lost, case) for case in self.cases if case.lost is not None and case.lost > 0]
        return tuple(case for _, case in sorted(losing, key=lambda pair: -pair[0])[:WORST])


def read_trials(
    before: str, after: str, *, study: str | None = None, home: Path = HOME, storage: str | None = None
) -> TrialDiff:
    """The difference of two stored trials, each a number, STUDY/NUMBER or HOME/STUDY/NUMBER.

    A mere number is of `study`, else of the study that the other one names, else of the last one. Raises UsageError for
    what names no trial and for trials that cannot be compared, StorageError for what is not stored.
    """
    (first, one), (second, other) = parse_trial(before), parse_trial(after)
    url = storage or default_storage(home)
    names = (first or study or second, second or study or first)
    read = {name: read_study(url, None) if name is None else named_study(name, url) for name in dict.fromkeys(names)}
    sides = [Side(read[name], trial_of(read[name], number)) for name, number in zip(names, (one, other), strict=True)]
    return trial_diff(*sides)


def trial_diff(before: Side, after: Side) -> TrialDiff:
    """What changes from one trial to the other. Raises UsageError where they cannot be compared."""
    _check(before, after)
    first, second = before.record.quality, after.record.quality
    assert first is not None and second is not None
    latency = latency_ratio(before, after)
    test, later = before.record.test, after.record.test
    return TrialDiff(
        before,
        after,
        settings=tuple(settings_between(before.record.configuration, after.record.configuration)),
        effective=tuple(_effective_between(before.record, after.record)),
        latency=None if isinstance(latency, str) else latency,
        no_latency=latency if isinstance(latency, str) else "",
        drop=paired_drop(first, second),
        test_drop=None if test is None or later is None else paired_drop(test, later),
        cases=tuple(_paired(first, second)),
    )


def settings_between(before: Configuration, after: Configuration) -> Iterator[Setting]:
    """The settings that differ, by section; a step that is off in one of them is one setting."""
    first, second = before.sections(), after.sections()
    for name in sorted(first.keys() | second.keys()):
        mine, theirs = first.get(name), second.get(name)
        if mine is None or theirs is None:
            if mine is not theirs:
                yield Setting(name, _in_one(mine), _in_one(theirs))
            continue
        for key in sorted(mine.keys() | theirs.keys()):
            values = mine.get(key, NOT_SET), theirs.get(key, NOT_SET)
            if values[0] != values[1]:
                yield Setting(f"{name}.{key}", *values)


def latency_ratio(before: Side, after: Side) -> stats.LogRatio | str:
    """The latency of `after` over that of `before` with all its noise, or why it cannot be told."""
    one, other = before.study, after.study
    if one.card.host.fingerprint != other.card.host.fingerprint:
        return "they were measured on different hosts, or with other versions of the libraries there"
    if one.card.latency != other.card.latency:
        return f"what is timed differs: one {one.card.latency} there, one {other.card.latency} here"
    if (one.card.name, one.card.id) != (other.card.name, other.card.id):
        return "they are of two studies, which were not measured in turns with one reference"
    if runs_same(before, after):
        return "both run the same files with the same settings: what their latencies differ by is noise"
    return uncertainty.slower(after.record.measured, before.record.measured, one.sigma)


def runs_same(before: Side, after: Side) -> bool:
    """Whether both trials of one study ran the same files with the same settings."""
    first = before.study.runs_as(before.record)
    return first is not None and first == before.study.runs_as(after.record)


def paired_drop(before: Quality, after: Quality) -> stats.Drop | None:
    """What the primary metric lost, paired over patients; of qualities that left cases out, on those that both have."""
    if before.left_out or after.left_out:
        before, after = before.among(after.cases), after.among(before.cases)
    return uncertainty.drop(before, after)


def _check(before: Side, after: Side) -> None:
    """Raise UsageError with the first reason why two trials cannot be compared."""
    one, other = before.study.card, after.study.card
    if (one.name, one.id, before.record.number) == (other.name, other.id, after.record.number):
        raise UsageError(f"two different trials must be given, got {before.name} of study {one.name} twice")
    for side in (before, after):
        record = side.record
        if record.measurement is None or record.quality is None:
            failed = "" if record.failure is None else f" in {record.failure.stage}: {record.failure.message}"
            raise UsageError(
                f"a trial must have been measured and scored to be compared, {side.name} of study "
                f"{side.study.card.name} failed{failed}"
            )
    if one.data_digest != other.data_digest:
        raise UsageError(
            f"both trials must be scored on the same data: those of study {other.name} are not those of {one.name}"
        )
    metrics = [
        (card.primary, card.less_is_better, card.own_metrics.get(card.primary), side.record.quality.rule)
        for card, side in ((one, before), (other, after))
        if side.record.quality is not None
    ]
    if metrics[0] != metrics[1]:
        raise UsageError(
            f"both trials must be scored by the same metric: that of study {one.name} is {one.primary}, "
            f"that of {other.name} is {other.primary}" + (", scored otherwise" if one.primary == other.primary else "")
        )


def _effective_between(before: TrialRecord, after: TrialRecord) -> Iterator[Setting]:
    """What the runtimes read back and does not vary from run to run, where it differs."""
    first, second = before.measured.effective, after.measured.effective
    for name in SETTLED:
        if first.get(name) != second.get(name):
            yield Setting(name, first.get(name), second.get(name))


def _paired(before: Quality, after: Quality) -> Iterator[PairedCase]:
    scores = {case.id: case.scores.get(after.primary) for case in after.cases}
    for case in before.cases:
        if case.id in scores and before.primary in case.scores:
            one, other = case.scores[before.primary], scores[case.id]
            lost = None if one is None or other is None else before.sign() * (one - other)
            yield PairedCase(case.id, case.group, one, other, lost)


def _in_one(section: Mapping[str, Scalar] | None) -> str:
    """A section as one value, such as: ratio 0.5, steps 120."""
    if section is None:
        return OFF
    return ", ".join(f"{key} {OFF if item is None else item}" for key, item in sorted(section.items())) or "on"

"""A study as a value: its card, its records, and what follows from them: reference, front, ties, doubts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from autoopt.core import pareto
from autoopt.core.card import StudyCard
from autoopt.core.configuration import canonical_json
from autoopt.core.measurement import joined
from autoopt.core.records import CONTROL, Status, TrialRecord
from autoopt.inference.roofline import Cost, Peaks, fraction_of_roofline
from autoopt.inference.runtimes import BASELINE_LABEL, EXACT, REFERENCE_LABEL
from autoopt.study import numbers, uncertainty
from autoopt.study.early_stop import EarlyStop
from autoopt.study.limits import drop_limit, judge, needs_reference
from autoopt.study.number import Comparison
from autoopt.study.reference_level import ReferenceLevel, at_level, level_of

SETTLED = ("precision", "threads", "streams", "kernels")
"""What the runtime reads back that does not vary from run to run, as a share of time does."""


@dataclass(frozen=True)
class StudyResult:
    """All records of one study, and what follows from them. Nothing here is stored; all is derived, once."""

    card: StudyCard
    records: tuple[TrialRecord, ...]
    ended_early: EarlyStop | None = None
    """That of the last search which ended early; it may have gone on since, see `early_stop`."""

    @property
    def early_stop(self) -> EarlyStop | None:
        """Why the search ended before its budget, where it did and did not go on since."""
        ended = self.ended_early
        return ended if ended is not None and ended.trials == len(self.records) else None

    def plus(self, record: TrialRecord) -> StudyResult:
        """The study with one more record. What the record cannot change is taken over, not computed anew."""
        grown = replace(self, records=(*self.records, record))
        key, level = runs_what(record), self.level.plus(record)
        grown.__dict__["level"] = level
        settled = self.reference is not None and level.latency_s == self.level.latency_s
        if settled and record.origin != "seed" and (key is None or key not in self._first_of):
            judged = self._judge(at_level(record, level))
            known: dict[str, Any] = {
                "sigma": self.sigma,
                "duplicates": self.duplicates,
                "reference": self.reference,
                "openvino_f32": self.openvino_f32,
                "judged": (*self.judged, judged),
                "_first_of": self._first_of if key is None else {**self._first_of, key: record.number},
                "_by_number": {**self._by_number, record.number: judged},
            }
            if _counts(judged):
                known["complete"] = (*self.complete, judged)
                known["front"] = self._front_of((*self.front, judged))
            else:
                known |= {"complete": self.complete, "front": self.front}
            grown.__dict__.update(known)
        return grown

    @cached_property
    def judged(self) -> tuple[TrialRecord, ...]:
        """All records, each with the samples of its duplicates and the status that the card's limits give it.

        A record in storage says only what was found: limits may change between two commands.
        """
        return tuple(map(self._judge, self._with_duplicates))

    @cached_property
    def complete(self) -> tuple[TrialRecord, ...]:
        """The records that were measured and scored and break no limit, without duplicates and controls."""
        return tuple(r for r in self.judged if _counts(r) and r.number not in self.duplicates)

    @cached_property
    def front(self) -> tuple[TrialRecord, ...]:
        """The complete, feasible records that no other dominates, fastest first."""
        return self._front_of(self.complete)

    @cached_property
    def duplicates(self) -> Mapping[int, int]:
        """Trials that turned out to run what an earlier one runs: their number to its number."""
        keys = ((record.number, runs_what(record)) for record in self.records)
        return {
            number: self._first_of[key] for number, key in keys if key is not None and self._first_of[key] != number
        }

    @cached_property
    def reference(self) -> TrialRecord | None:
        """The trial that all others are compared with: PyTorch FP32; where it could not run, the first FP32 seed that
        could. None where none could."""
        exact = (r for r in self._with_duplicates if r.label.endswith(EXACT) and r.origin == "seed")
        return self._labelled(REFERENCE_LABEL) or next((r for r in exact if r.quality is not None), None)

    @property
    def lacks_reference(self) -> bool:
        """Whether a limit compares trials with the reference, and there is none: then no trial is complete."""
        return self.reference is None and any(map(needs_reference, self.card.limits))

    @cached_property
    def stand_in(self) -> str:
        """What the reference is and why, where a trial stands in for PyTorch FP32; empty where none does."""
        reference = self.reference
        if reference is None or reference.label == REFERENCE_LABEL:
            return ""
        words = f"the reference is {reference.label} (#{reference.number})"
        failed = next((r for r in self.records if r.label == REFERENCE_LABEL and r.failure is not None), None)
        if failed is None or failed.failure is None:
            return words
        return f"{words}, since {failed.label} (#{failed.number}) failed: {failed.failure.message}"

    @cached_property
    def openvino_f32(self) -> TrialRecord | None:
        """OpenVINO with true FP32, the fair comparison of speed-ups on a CPU; None when it was not measured."""
        return self._labelled(BASELINE_LABEL)

    @cached_property
    def best_float(self) -> TrialRecord | None:
        """The fastest complete trial in which nothing is quantized: what integers have to beat; None without one."""
        floats = (record for record in self.complete if record.configuration.section("quantize") is None)
        return min(floats, key=lambda record: (record.measured.latency_p25_s, record.number), default=None)

    @cached_property
    def sigma(self) -> float:
        """The standard deviation of log latency between processes of one thing.

        From the host's A/A test, else from the trial of the reference, else a default.
        """
        stored = self.card.calibration.get("sigma")
        if stored is not None:
            return float(stored)
        measured = (uncertainty.process_sigma(record) for record in self.records if record.origin == "seed")
        return next((sigma for sigma in measured if sigma is not None), uncertainty.DEFAULT_SIGMA)

    @cached_property
    def level(self) -> ReferenceLevel:
        """How fast the reference is on the host: the level to which all latencies of the study are brought."""
        return level_of(self.records)

    @property
    def reference_latency_s(self) -> float | None:
        """The p25 latency of the reference at the study's `level`; None before the first trial."""
        return self.level.latency_s

    def as_next(self, record: TrialRecord) -> TrialRecord:
        """A record that is no part of the study yet, at the level that the study has with it."""
        return at_level(record, self.level.plus(record))

    @property
    def quantile(self) -> float | None:
        """The quantile of the calls that latencies are compared by; None before the first trial."""
        return next((record.measurement.quantile for record in self.records if record.measurement is not None), None)

    @cached_property
    def front_probabilities(self) -> Mapping[int, float]:
        """The probability of each complete trial to be on the front, given the noise of its numbers."""
        members = self.complete
        if not members:
            return {}
        columns = {name: index for index, name in enumerate(self.card.objectives)}
        shares = uncertainty.front_probabilities(members, self.sigma, self.points(members), columns)
        return {record.number: float(share) for record, share in zip(members, shares, strict=True)}

    @cached_property
    def ties(self) -> Mapping[int, int]:
        """The members of the front to the fastest member that neither latency nor quality tells them from."""
        return uncertainty.tie_groups(self.front, self.sigma)

    @cached_property
    def unconfirmed(self) -> tuple[TrialRecord, ...]:
        """The reference and the members of the front that were not scored on test yet."""
        wanted = {r.number: r for r in (self.reference, *self.front) if r is not None and r.test is None}
        return tuple(wanted.values())

    def points(self, records: tuple[TrialRecord, ...]) -> np.ndarray:
        """The objectives of `records` in SI units as an array (records, objectives), all to be minimised."""
        chosen = [numbers.objectives()[name] for name in self.card.objectives]
        return np.array([[number.minimised(record) for number in chosen] for record in records], dtype=np.float64)

    def log_points(self, records: tuple[TrialRecord, ...]) -> np.ndarray:
        """`points` with the logarithm of the objectives whose ratios count."""
        return self.logarithms(self.points(records))

    def logarithms(self, points: np.ndarray) -> np.ndarray:
        """The objectives (records, objectives) with the logarithm of those whose ratios count."""
        found = points.copy()
        for column, name in enumerate(self.card.objectives):
            if numbers.objectives()[name].log:
                found[:, column] = numbers.objectives()[name].logarithms(found[:, column])
        return found

    def by_number(self, number: int) -> TrialRecord | None:
        """The judged record of trial `number`."""
        return self._by_number.get(number)

    @cached_property
    def stored(self) -> Mapping[int, TrialRecord]:
        """The records as they are stored, by number."""
        return {record.number: record for record in self.records}

    def headline(self, record: TrialRecord) -> dict[str, float]:
        """The numbers of a trial by key, each in its unit; only those that exist for it. See numbers.py."""
        return numbers.headline(record, self.card.primary, self._comparison(record))

    def without_interval(self, record: TrialRecord) -> dict[str, str]:
        """Why numbers of a trial have no interval, by key: all that are in `headline` and lack one."""
        return numbers.without_interval(record, self.card.primary, self._comparison(record))

    def noise(self, record: TrialRecord) -> dict[str, float]:
        """How far the objectives of a trial may be off: half of the 95 % interval, in logarithms where ratios count.

        Of the quality it is that of its drop: on the same cases two trials differ by less than each varies over
        patients. An objective without an interval is not in it.
        """
        compared = {**numbers.objectives(), "quality": numbers.NUMBERS["drop"]}
        beside = self._comparison(record)
        found = {name: number.noise(record, beside) for name, number in compared.items()}
        return {name: half for name, half in found.items() if half is not None}

    def runs_as(self, record: TrialRecord) -> int | None:
        """The number of the first trial that ran the same files with the same settings; None where there is none."""
        key = runs_what(record)
        return None if key is None else self._first_of.get(key)

    def confirmed_on_test(self, record: TrialRecord) -> bool | None:
        """Whether the drop on test keeps the study's limit, as it did on val; None where it was not scored there."""
        before = None if self.reference is None else self.reference.test
        limit = drop_limit(self.card.limits, before)
        if record.test is None or before is None or limit is None:
            return None
        return before.worth - record.test.worth <= limit

    def _judge(self, record: TrialRecord) -> TrialRecord:
        judged = judge(record, self.reference, self.card.limits, self.sigma)
        known = all(numbers.objectives()[name].known(record) for name in self.card.objectives)
        # What cannot be compared has no place on a front, such as a trial whose energy could not be read.
        return judged if known or judged.status is not Status.COMPLETE else replace(judged, status=Status.UNKNOWN)

    def _front_of(self, members: tuple[TrialRecord, ...]) -> tuple[TrialRecord, ...]:
        if not members:
            return ()
        mask = pareto.front(self.points(members))
        chosen = [record for record, keep in zip(members, mask, strict=True) if keep]
        return tuple(sorted(chosen, key=lambda record: (record.measured.latency_p25_s, record.number)))

    def _comparison(self, record: TrialRecord) -> Comparison:
        probability = self.front_probabilities.get(record.number)
        return Comparison(
            self.reference,
            self.openvino_f32,
            self.best_float,
            sigma=self.sigma,
            front_probability=probability,
            roofline=self._roofline(record),
        )

    def _roofline(self, record: TrialRecord) -> float | None:
        """The attained fraction of what the host can do at best; None where either was not measured."""
        measured = record.measurement
        if measured is None or not measured.cost or self.card.latency != "call":
            return None
        peaks = self.card.calibration.get("peaks", {}).get(str(measured.effective.get("threads")))
        if peaks is None:
            return None
        precision = str(measured.effective.get("precision", "f32"))
        return fraction_of_roofline(Cost(**measured.cost), measured.latency_p25_s, Peaks(**peaks), precision)

    @cached_property
    def _first_of(self) -> Mapping[str, int]:
        """What really ran to the number of the first trial that ran it."""
        first: dict[str, int] = {}
        for record in self.records:
            key = runs_what(record)
            if key is not None:
                first.setdefault(key, record.number)
        return first

    @cached_property
    def _by_number(self) -> Mapping[int, TrialRecord]:
        return {record.number: record for record in self.judged}

    @cached_property
    def _with_duplicates(self) -> tuple[TrialRecord, ...]:
        """The records, each with the samples of its duplicates, all with one latency of the reference."""
        found = {record.number: record for record in self.records}
        for number, first in self.duplicates.items():
            one, other = found[first].measurement, found[number].measurement
            if one is not None and other is not None and bool(one.reference_s) == bool(other.reference_s):
                found[first] = replace(found[first], measurement=joined(one, other))
        return tuple(self.at_reference_latency(found[record.number]) for record in self.records)

    def at_reference_latency(self, record: TrialRecord) -> TrialRecord:
        """The record with the study's one latency of the reference, so that all latencies are of the same host."""
        return at_level(record, self.level)

    def _labelled(self, label: str) -> TrialRecord | None:
        found = (r for r in self._with_duplicates if r.label == label and r.quality is not None)
        return next(found, None)


def _counts(judged: TrialRecord) -> bool:
    """Whether a judged record may be on the front."""
    return judged.status is Status.COMPLETE and judged.origin != CONTROL


def runs_what(record: TrialRecord) -> str | None:
    """What really ran, as a key: the same files with the same settled settings are the same. None when unknown."""
    measured = record.measurement
    if measured is None or not measured.content:
        return None
    asked = record.configuration.runtime
    return canonical_json(
        {
            "content": measured.content,
            "pipeline": record.configuration.section("pipeline"),
            "asked": {name: value for name, value in asked.items() if name not in SETTLED},
            "effective": {name: measured.effective.get(name) for name in SETTLED},
        }
    )

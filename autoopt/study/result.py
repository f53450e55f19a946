"""A study as a value: its card, its records, and what follows from them (reference, front, headline numbers)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from autoopt.core import pareto, stats
from autoopt.core.card import StudyCard
from autoopt.core.configuration import canonical_json
from autoopt.core.measurement import Measurement, joined
from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import Quality
from autoopt.inference import runtimes
from autoopt.inference.roofline import Cost, Peaks, fraction_of_roofline
from autoopt.study import uncertainty
from autoopt.study.limits import judge, violations

LEVEL_TRIALS = 8
"""Trials that say how fast the reference is on a host."""
SETTLED = ("precision", "threads", "streams", "kernels")
"""What the runtime reads back that does not vary from run to run, as a share of time does."""
CONTESTED = (0.1, 0.9)
"""The chances to be on the front between which a trial is contested."""
MOST_PROCESSES = 10
"""A trial that was measured so often is not measured again."""
REFERENCE_LABEL = runtimes.REFERENCE_LABEL
"""The seed that every drop and every first speed-up is measured against: PyTorch FP32 eager."""
OPENVINO_LABEL = runtimes.BASELINE_LABEL
"""The seed that is the honest yardstick of a speed-up on a CPU."""


@dataclass(frozen=True)
class Objective:
    """A number to minimise, from a complete record; `log` says that ratios matter, not differences."""

    name: str
    read: Callable[[TrialRecord], float]
    log: bool


def _measured(record: TrialRecord) -> Measurement:
    if record.measurement is None:
        raise ValueError(f"trial {record.number} has no measurement")
    return record.measurement


def _quality_value(record: TrialRecord) -> float:
    if record.quality is None:
        raise ValueError(f"trial {record.number} has no quality")
    return record.quality.value


OBJECTIVES: dict[str, Objective] = {
    "latency": Objective("latency", lambda record: _measured(record).latency_p25_s, log=True),
    "quality": Objective("quality", lambda record: -_quality_value(record), log=False),
    "memory": Objective("memory", lambda record: float(_measured(record).peak_rss_bytes), log=True),
    "size": Objective("size", lambda record: float(_measured(record).artifact_bytes), log=True),
}
"""Name to objective: what `--objectives` may list."""


@dataclass(frozen=True)
class StudyResult:
    """All records of one study, and what follows from them. Nothing here is stored; all is derived."""

    card: StudyCard
    records: tuple[TrialRecord, ...]

    @cached_property
    def complete(self) -> tuple[TrialRecord, ...]:
        """The records that were measured and scored and break no limit, without twins."""
        return tuple(r for r in self.judged if r.status is Status.COMPLETE and r.number not in self.duplicates)

    @cached_property
    def judged(self) -> tuple[TrialRecord, ...]:
        """All records, judged anew by the card's limits, which may change between two commands; twins joined."""
        return tuple(judge(record, self.reference, self.card.limits) for record in self._joined)

    @cached_property
    def duplicates(self) -> Mapping[int, int]:
        """Trials that turned out to run what an earlier one runs: their number to its number."""
        first: dict[str, int] = {}
        found: dict[int, int] = {}
        for record in self.records:
            key = runs_what(record)
            if key is not None and first.setdefault(key, record.number) != record.number:
                found[record.number] = first[key]
        return found

    @cached_property
    def sigma(self) -> float:
        """What processes of one thing differ by, in log latency: of the host's A/A test, or the yardstick's trial."""
        stored = self.card.calibration.get("sigma")
        if stored is not None:
            return float(stored)
        yardsticks = (uncertainty.process_sigma(record) for record in self.records if record.origin == "seed")
        return next((sigma for sigma in yardsticks if sigma is not None), uncertainty.DEFAULT_SIGMA)

    @cached_property
    def reference_latency_s(self) -> float | None:
        """What the resident reference takes: the lower quartile of its p25 beside the first trials; None before them.

        Of each the first process: a host that is busy when a study begins does not change it, later trials neither.
        """
        beside = [m.reference_s[0] for r in self.records if (m := r.measurement) is not None and m.reference_s]
        levels = [stats.quantile([call for turn in turns for call in turn], 0.25) for turns in beside[:LEVEL_TRIALS]]
        return stats.quantile(levels, 0.25) if levels else None

    @property
    def quantile(self) -> float | None:
        """The quantile of the calls that latencies are compared by; None before the first trial."""
        return next((record.measurement.quantile for record in self.records if record.measurement is not None), None)

    @cached_property
    def probabilities(self) -> Mapping[int, float]:
        """The probability of each complete trial to be on the front, given what its numbers may be off by."""
        members = self.complete
        if not members:
            return {}
        points = self.points(members)
        columns = {name: index for index, name in enumerate(self.card.objectives)}
        shares = uncertainty.front_probabilities(members, self.sigma, points, columns)
        return {record.number: float(share) for record, share in zip(members, shares, strict=True)}

    @cached_property
    def ties(self) -> Mapping[int, int]:
        """The members of the front to the fastest member that neither latency nor quality tells them from."""
        return uncertainty.tie_groups(self.front, self.sigma)

    @cached_property
    def contested(self) -> tuple[TrialRecord, ...]:
        """The trials whose place on the front hangs on a latency not told from another's, the least measured first.

        Where only quality is not told apart, measuring again would not help. A reference or a member that was measured
        in one process only is contested as well.
        """
        low, high = CONTESTED
        thin = {
            record.number: record
            for record in (self.reference, self.openvino_f32, *self.front)
            if record is not None and record.measurement is not None and record.measurement.processes < 2
        }
        rivals = [record for record in self.complete if self.probabilities[record.number] > low]
        found = list(thin.values()) + [
            record
            for record in rivals
            if record.number not in thin
            and self.probabilities[record.number] < high
            and _measured(record).processes < MOST_PROCESSES
            and any(
                other is not record and uncertainty.same_speed(_measured(record), _measured(other), self.sigma)
                for other in rivals
            )
        ]
        doubt = {record.number: abs(self.probabilities.get(record.number, 1.0) - 0.5) for record in found}
        return tuple(sorted(found, key=lambda r: (_measured(r).processes, doubt[r.number], r.number)))

    @cached_property
    def unconfirmed(self) -> tuple[TrialRecord, ...]:
        """The reference and the members of the front that were not scored on test yet."""
        wanted = {r.number: r for r in (self.reference, *self.front) if r is not None and r.test is None}
        return tuple(wanted.values())

    def verdict(self, record: TrialRecord) -> str:
        """Why enough of a running trial was measured, or nothing; see `standing.verdict`."""
        key = runs_what(record)
        record = self._levelled(record)
        twin = next((item for item in self.records if key is not None and runs_what(item) == key), None)
        if twin is not None:
            return f"it runs what #{twin.number} runs"
        if record.quality is not None and record.quality.left_out:
            count = len(record.quality.cases)
            return f"it surely loses too much on {count} of {count + record.quality.left_out} cases"
        others = [OBJECTIVES[name] for name in self.card.objectives if name not in ("latency", "quality")]
        reference = self.reference or record
        return uncertainty.verdict(
            record,
            self.front,
            self.sigma,
            broken=self._surely_broken(record, reference),
            worse=lambda a, b: all(objective.read(a) >= objective.read(b) for objective in others),
        )

    def _surely_broken(self, record: TrialRecord, reference: TrialRecord) -> list[str]:
        """The limits that more processes would not let the record keep: those of quality, and latency beyond noise."""
        limits = self.card.limits
        excess = violations(record, reference, limits)
        broken = [name for name, value in excess.items() if value > 0 and name != "latency_s"]
        if excess.get("latency_s", 0.0) > 0:
            low, _ = uncertainty.latency_interval(_measured(record), self.sigma, confidence=2 * uncertainty.SURE - 1)
            broken += ["latency_s"] if low > limits["latency_s"] else []
        return broken

    def clear(self, ratio: stats.LogRatio) -> bool:
        """Whether a running trial is so much faster or slower than each member of the front that nothing hangs on it.

        `ratio` is that of the trial to the resident reference, from one process.
        """
        levels = [_measured(member) for member in self.front]
        return all(
            member.relative is not None and uncertainty.far_apart(ratio, member.relative, self.sigma)
            for member in levels
        )

    @cached_property
    def _joined(self) -> tuple[TrialRecord, ...]:
        """The records, each with the samples of its twins, all with one level of the reference."""
        found = {record.number: record for record in self.records}
        for number, first in self.duplicates.items():
            one, other = found[first].measurement, found[number].measurement
            if one is not None and other is not None and bool(one.reference_s) == bool(other.reference_s):
                found[first] = replace(found[first], measurement=joined(one, other))
        return tuple(self._levelled(found[record.number]) for record in self.records)

    def _levelled(self, record: TrialRecord) -> TrialRecord:
        """The record with the study's level of the reference, so that all latencies are of the same host."""
        measured = record.measurement
        if measured is None or not measured.reference_s or measured.reference_latency_s == self.reference_latency_s:
            return record
        return replace(record, measurement=replace(measured, reference_latency_s=self.reference_latency_s))

    @cached_property
    def reference(self) -> TrialRecord | None:
        """PyTorch FP32; where it could not run, the first seed that could."""
        seeds = [record for record in self._joined if record.origin == "seed" and record.quality is not None]
        return self._labelled(REFERENCE_LABEL) or (seeds[0] if seeds else None)

    @cached_property
    def openvino_f32(self) -> TrialRecord | None:
        """OpenVINO with true FP32, the yardstick of speed-ups; None when it was not measured."""
        return self._labelled(OPENVINO_LABEL)

    @cached_property
    def front(self) -> tuple[TrialRecord, ...]:
        """The complete, feasible records that no other dominates, fastest first."""
        members = self.complete
        if not members:
            return ()
        mask = pareto.front(self.points(members))
        chosen = [record for record, keep in zip(members, mask, strict=True) if keep]
        return tuple(sorted(chosen, key=lambda record: (_measured(record).latency_p25_s, record.number)))

    def points(self, records: tuple[TrialRecord, ...]) -> np.ndarray:
        """The objectives of `records` as an array (records, objectives), all to be minimised."""
        objectives = [OBJECTIVES[name] for name in self.card.objectives]
        return np.array([[objective.read(record) for objective in objectives] for record in records], dtype=np.float64)

    def by_number(self, number: int) -> TrialRecord | None:
        """The judged record of trial `number`."""
        return next((record for record in self.judged if record.number == number), None)

    def headline(self, record: TrialRecord) -> dict[str, float]:
        """The numbers people ask for, named with their units; only those that exist for this record."""
        numbers = headline(record, self.reference, self.openvino_f32, self.sigma)
        if record.number in self.probabilities:
            numbers["front_chance"] = self.probabilities[record.number]
        roof = self._roof(record)
        return numbers if roof is None else {**numbers, "roofline_fraction": roof}

    def _roof(self, record: TrialRecord) -> float | None:
        """The attained fraction of what the host can do at best; None where either was not measured."""
        measured = record.measurement
        if measured is None or not measured.cost or self.card.latency != "call":
            return None
        peaks = self.card.calibration.get("peaks", {}).get(str(measured.effective.get("threads")))
        if peaks is None:
            return None
        precision = str(measured.effective.get("precision", "f32"))
        return fraction_of_roofline(Cost(**measured.cost), measured.latency_p25_s, Peaks(**peaks), precision)

    def _labelled(self, label: str) -> TrialRecord | None:
        found = (record for record in self._joined if record.label == label and record.quality is not None)
        return next(found, None)


def headline(
    record: TrialRecord,
    reference: TrialRecord | None = None,
    openvino_f32: TrialRecord | None = None,
    sigma: float = uncertainty.DEFAULT_SIGMA,
) -> dict[str, float]:
    """The numbers people ask for, named with their units; only those that exist for this record.

    `speedup_vs_torch_f32` and `speedup_vs_openvino_f32` are ratios of p25 latencies, `drop` is the
    reference's primary quality minus this one's, `_low` and `_high` end 95 % intervals, `_upper` a one-sided bound.
    Every quality metric is there by its own name, and with `test_` before it where the trial was confirmed on test.
    """
    numbers: dict[str, float] = {}
    if (measured := record.measurement) is not None:
        low, high = uncertainty.latency_interval(measured, sigma)
        numbers |= {
            "latency_p25_ms": measured.latency_p25_s * 1e3,
            "latency_low_ms": low * 1e3,
            "latency_high_ms": high * 1e3,
            "latency_raw_p25_ms": measured.raw_p25_s * 1e3,
            "latency_p50_ms": measured.latency_p50_s * 1e3,
            "latency_p95_ms": measured.latency_p95_s * 1e3,
            "latency_p99_ms": measured.latency_p99_s * 1e3,
            "throughput_per_s": measured.throughput_per_s,
            "cpu_ms_per_call": measured.cpu_per_call_s * 1e3,
            "load_ms": measured.load_s * 1e3,
            "first_call_ms": measured.first_call_s * 1e3,
            "peak_rss_mb": measured.peak_rss_bytes / 1e6,
            "size_mb": measured.artifact_bytes / 1e6,
            "processes": measured.processes,
        }
        if measured.cost:
            numbers["gmacs"] = measured.cost["macs"] / 1e9
            if measured.cost.get("weights"):  # unknown of what earlier versions measured
                numbers["weights_m"] = measured.cost["weights"] / 1e6
        if measured.energy_j is not None:
            numbers["energy_mj_per_call"] = measured.energy_j * 1e3
        for expected, other in ((REFERENCE_LABEL, reference), (OPENVINO_LABEL, openvino_f32)):
            if other is not None and other.label == expected and other.measurement is not None:
                times = uncertainty.slower(other.measurement, measured, sigma)
                key = f"speedup_vs_{expected.replace(' ', '_')}"
                numbers[key] = times.ratio
                if other.number != record.number:
                    numbers[f"{key}_low"], numbers[f"{key}_high"] = times.interval()
    if record.quality is not None:
        numbers |= dict(record.quality.values)
        numbers |= _drops(record.quality, None if reference is None else reference.quality, "")
    if record.test is not None:
        numbers |= {f"test_{name}": value for name, value in record.test.values.items()}
        numbers |= _drops(record.test, None if reference is None else reference.test, "test_")
    return numbers


def _drops(quality: Quality, reference: Quality | None, prefix: str) -> dict[str, float]:
    if reference is None:
        return {}
    numbers = {f"{prefix}drop": reference.value - quality.value}
    bounds = uncertainty.drop(reference, quality)
    if bounds is not None:
        numbers |= {f"{prefix}drop_upper": bounds.upper, f"{prefix}drop_p_value": bounds.p_value}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


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


def held(record: TrialRecord, result: StudyResult) -> bool | None:
    """Whether the drop on test keeps the study's limit, as it did on val; None where it was not confirmed."""
    limit, reference = result.card.limits.get("drop"), result.reference
    if record.test is None or reference is None or reference.test is None or limit is None:
        return None
    return reference.test.value - record.test.value <= limit

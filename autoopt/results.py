"""A study as a value: its card, its records, and what follows from them (reference, front, headline numbers)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from autoopt import pareto
from autoopt.records import Configuration, Measurement, Scalar, Status, StudyCard, TrialRecord

REFERENCE_LABEL = "torch f32"
"""The seed that every drop and every first speed-up is measured against: PyTorch FP32 eager."""
OPENVINO_LABEL = "openvino f32"
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
        """The records that were measured and scored and break no limit."""
        return tuple(record for record in self.judged if record.status is Status.COMPLETE)

    @cached_property
    def judged(self) -> tuple[TrialRecord, ...]:
        """All records, judged anew by the card's limits: limits may change between two commands."""
        return tuple(judge(record, self.reference, self.card.limits) for record in self.records)

    @cached_property
    def reference(self) -> TrialRecord | None:
        """PyTorch FP32; where it could not run, the first seed that could."""
        seeds = [record for record in self.records if record.origin == "seed" and record.quality is not None]
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
        return headline(record, self.reference, self.openvino_f32)

    def _labelled(self, label: str) -> TrialRecord | None:
        found = (record for record in self.records if record.label == label and record.quality is not None)
        return next(found, None)


def headline(
    record: TrialRecord, reference: TrialRecord | None = None, openvino_f32: TrialRecord | None = None
) -> dict[str, float]:
    """The numbers people ask for, named with their units; only those that exist for this record.

    `speedup_vs_torch_f32` and `speedup_vs_openvino_f32` are ratios of p25 latencies, `drop` is the
    reference's primary quality minus this one's, and every quality metric is there by its own name.
    """
    numbers: dict[str, float] = {}
    if (measured := record.measurement) is not None:
        numbers |= {
            "latency_p25_ms": measured.latency_p25_s * 1e3,
            "latency_p50_ms": measured.latency_p50_s * 1e3,
            "latency_p95_ms": measured.latency_p95_s * 1e3,
            "latency_p99_ms": measured.latency_p99_s * 1e3,
            "throughput_per_s": measured.throughput_per_s,
            "cpu_ms_per_call": measured.cpu_per_call_s * 1e3,
            "load_ms": measured.load_s * 1e3,
            "first_call_ms": measured.first_call_s * 1e3,
            "peak_rss_mb": measured.peak_rss_bytes / 1e6,
            "size_mb": measured.artifact_bytes / 1e6,
        }
        for name, other in (("torch", reference), ("openvino", openvino_f32)):
            expected = REFERENCE_LABEL if name == "torch" else OPENVINO_LABEL
            if other is not None and other.label == expected and other.measurement is not None:
                numbers[f"speedup_vs_{name}_f32"] = other.measurement.latency_p25_s / measured.latency_p25_s
    if record.quality is not None:
        numbers |= dict(record.quality.values)
        if reference is not None and reference.quality is not None:
            numbers["drop"] = reference.quality.value - record.quality.value
    return numbers


LIMITS: dict[str, str] = {
    "drop": "the primary quality lost against the reference (a fraction)",
    "latency_s": "p25 seconds per call",
}
"""The limits a study may have, each an upper bound."""


def violations(record: TrialRecord, reference: TrialRecord | None, limits: Mapping[str, float]) -> dict[str, float]:
    """By how much `record` exceeds each of `limits` (positive: violated; zero or less: kept)."""
    excess: dict[str, float] = {}
    if "drop" in limits and record.quality is not None and reference is not None and reference.quality is not None:
        excess["drop"] = reference.quality.value - record.quality.value - limits["drop"]
    if "latency_s" in limits and record.measurement is not None:
        excess["latency_s"] = record.measurement.latency_p25_s - limits["latency_s"]
    return excess


def judge(record: TrialRecord, reference: TrialRecord | None, limits: Mapping[str, float]) -> TrialRecord:
    """The record with the status that `limits` give it; a failed one stays failed."""
    if record.status is Status.FAILED:
        return record
    violated = {name: excess for name, excess in violations(record, reference, limits).items() if excess > 0}
    return replace(record, status=Status.INFEASIBLE if violated else Status.COMPLETE, violated=violated)


_DESCRIBED = {
    "quantize": (
        "scheme",
        "tool",
        "preset",
        "activations",
        "range_estimator",
        "bias_correction",
        "calibration_cases",
        "ignored_layers",
    )
}
"""The settings a short name tells, by section; those of other sections are all told."""
_UNITS = {"calibration_cases": "cases", "bias_correction": "bias", "threads": "threads", "streams": "streams"}


def describe(configuration: Configuration) -> str:
    """A short name of a configuration for tables and run names: runtime, steps, then the runtime's settings."""
    sections = configuration.sections()
    runtime: dict[str, Scalar] = sections.pop("runtime", None) or {}
    words = [str(runtime.pop("name", "?"))]
    for name, settings in sorted(sections.items()):
        if settings is not None:
            known = _DESCRIBED.get(name, tuple(settings))
            words += [_word(key, settings.get(key)) for key in known]
    words += [_word(key, item) for key, item in sorted(runtime.items())]
    return " ".join(word for word in words if word)


def _word(key: str, value: Scalar) -> str:
    if value is None or (key, value) in (("range_estimator", "default"), ("spinning", True), ("streams", 1)):
        return ""
    if isinstance(value, bool):
        return f"{key}={str(value).lower()}"
    if key in _UNITS:
        unit = _UNITS[key].removesuffix("s") if value == 1 else _UNITS[key]
        return f"{value} {unit}" if isinstance(value, int | float) else f"{value}-{unit}"
    return str(value) if isinstance(value, str) else f"{key}={value}"

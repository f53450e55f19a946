"""The values that cross module borders: configuration, host, measurement, quality, trial record.

All are frozen; all turn into plain JSON and back. Seconds, bytes and fractions inside; units are
formatted only at the edge. `SCHEMA` is the version of the JSON; its history:

1  first version
2  turns beside a reference instead of calls alone; drops with bounds; confirmation on test
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from autoopt.core import stats

SCHEMA = 2
READABLE = (1, 2)

Scalar = str | int | float | bool | None


def canonical_json(value: Any) -> str:
    """The one spelling of `value` as JSON: sorted keys, no spaces, plain scalars.

    Integral floats are written as integers and numpy scalars as Python's, so equal values have
    equal text. Raises ValueError for NaN and infinity, which JSON does not have.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """SHA-256 of `canonical_json(value)`, 64 hexadecimal digits (the identity idea is Ax's `Arm`)."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


@dataclass(frozen=True)
class Configuration:
    """One point of a space: sections (`quantize`, `runtime`, ...) of plain scalars.

    A section that is None is a step switched off. `text` is the canonical JSON, so two equal
    configurations are equal as values and have one digest.
    """

    text: str

    @classmethod
    def of(cls, sections: Mapping[str, Mapping[str, Scalar] | None]) -> Configuration:
        """The configuration with these sections."""
        return cls(canonical_json(sections))

    def sections(self) -> dict[str, dict[str, Scalar] | None]:
        """All sections, as a fresh copy."""
        value: dict[str, dict[str, Scalar] | None] = json.loads(self.text)
        return value

    def section(self, name: str) -> dict[str, Scalar] | None:
        """The settings of one section, as a fresh copy; None when it is off or absent."""
        return self.sections().get(name)

    def flat(self) -> dict[str, Scalar]:
        """Dotted names to scalars; a step that is off is its bare name with None."""
        flat: dict[str, Scalar] = {}
        for name, settings in sorted(self.sections().items()):
            if settings is None:
                flat[name] = None
            else:
                flat.update({f"{name}.{key}": item for key, item in sorted(settings.items())})
        return flat

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def __str__(self) -> str:
        return " ".join(f"{key}={'off' if item is None else item}" for key, item in self.flat().items())


@dataclass(frozen=True)
class Host:
    """The machine that measures. Numbers never cross from one `fingerprint` to another silently.

    `cores` is how many this process may really use (affinity and cgroup quota), `memory_bytes` the
    physical memory or the cgroup limit, `isa` the instruction sets that decide speed, `versions`
    the libraries that decide what runs.
    """

    cpu: str
    arch: str
    cores: int
    memory_bytes: int
    isa: tuple[str, ...]
    system: str
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change when anything that decides speed changes."""
        return digest(asdict(self))[:12]


Calls = tuple[tuple[tuple[float, ...], ...], ...]
"""Wall seconds per call: of fresh processes, of rounds in each, of calls in each round."""


@lru_cache(maxsize=1024)  # copies of one measurement are compared again and again while a study grows
def _paired_ratio(turns_s: Calls, reference_s: Calls, q: float) -> stats.LogRatio:
    return stats.paired_ratio(turns_s, reference_s, q=q)


@dataclass(frozen=True)
class Measurement:
    """Raw samples of one artifact with one setting of one runtime on one host, beside those of the reference.

    `turns_s` and `reference_s` hold the calls of the candidate and of the resident reference, which took turns: alike
    in processes and rounds; `reference_s` is empty where the candidate was measured alone. `residents` names the
    process that was the reference of each process, `level_s` is what the reference takes on this host as far as was
    known then; a study gives all of its trials one level. `warmups_s` holds what was dropped, `cpu_s` the CPU-seconds
    per call of each process. The statistics are derived. `items_per_call` is the batch size; `effective` is what the
    runtime says really ran, of the files with the digest `content`, whose arithmetic and traffic per call are `cost`
    where they are known; `energy_j` is the least that the processor used per call in a turn, None where it does not
    tell; `stopped` says why no more was measured; `contended` what else the host did, empty when nothing; `doubts` are
    sentences a reader should see beside the number; `quantile` is the one whose ratio to the reference's is taken,
    chosen by the A/A test of the host.
    """

    turns_s: Calls
    warmups_s: tuple[tuple[float, ...], ...]
    cpu_s: tuple[float, ...]
    load_s: float
    first_call_s: float
    peak_rss_bytes: int
    artifact_bytes: int
    effective: Mapping[str, Scalar]
    host: str
    items_per_call: int = 1
    doubts: tuple[str, ...] = ()
    reference_s: Calls = ()
    residents: tuple[str, ...] = ()
    level_s: float | None = None
    content: str = ""
    cost: Mapping[str, int] = field(default_factory=dict)
    energy_j: float | None = None
    stopped: str = ""
    contended: str = ""
    quantile: float = 0.25

    @cached_property
    def relative(self) -> stats.LogRatio | None:
        """How many times longer than the reference a call takes; None where it was measured alone."""
        return _paired_ratio(self.turns_s, self.reference_s, self.quantile) if self.reference_s else None

    @property
    def latency_p25_s(self) -> float:
        """The estimate: the paired ratio of low percentiles times the p25 of the reference, so that drift cancels.

        Measured alone it is the raw percentile of all calls.
        """
        if self.relative is None or self.level_s is None:
            return self.raw_p25_s
        return self.relative.ratio * self.level_s

    @property
    def raw_p25_s(self) -> float:
        """The 25th percentile of all calls as they came, robust where call times are bimodal."""
        return self._quantile(0.25)

    @property
    def latency_p50_s(self) -> float:
        """Median seconds per call, corrected for drift as the estimate is."""
        return self._quantile(0.50) * self.drift

    @property
    def latency_p95_s(self) -> float:
        """95th percentile of seconds per call, likewise."""
        return self._quantile(0.95) * self.drift

    @property
    def latency_p99_s(self) -> float:
        """99th percentile of seconds per call, likewise."""
        return self._quantile(0.99) * self.drift

    @property
    def drift(self) -> float:
        """What the raw times are multiplied with, because the host was slower or faster than at the study's begin."""
        return self.latency_p25_s / self.raw_p25_s

    @property
    def throughput_per_s(self) -> float:
        """Items per second at the p25 latency, one call at a time."""
        return self.items_per_call / self.latency_p25_s

    @property
    def cpu_per_call_s(self) -> float:
        """CPU-seconds per call, the least of the worker processes."""
        return min(self.cpu_s)

    @property
    def processes(self) -> int:
        """How many fresh worker processes were measured."""
        return len(self.turns_s)

    @property
    def calls_s(self) -> tuple[tuple[float, ...], ...]:
        """The calls of each process, its rounds joined."""
        return tuple(tuple(seconds for turn in process for seconds in turn) for process in self.turns_s)

    def _quantile(self, q: float) -> float:
        return stats.quantile(np.concatenate([np.asarray(calls, dtype=np.float64) for calls in self.calls_s]), q)


def joined(first: Measurement, second: Measurement) -> Measurement:
    """One measurement with the samples of two of the same thing; what is not a sample is the first one's.

    Raises ValueError when they are of different hosts, or only one has a reference.
    """
    if first.host != second.host or bool(first.reference_s) != bool(second.reference_s):
        raise ValueError(
            "measurements can be joined only when they are of one host, both beside a reference or both alone"
        )
    return replace(
        first,
        turns_s=first.turns_s + second.turns_s,
        warmups_s=first.warmups_s + second.warmups_s,
        cpu_s=first.cpu_s + second.cpu_s,
        reference_s=first.reference_s + second.reference_s,
        residents=first.residents + second.residents,
        load_s=min(first.load_s, second.load_s),
        first_call_s=min(first.first_call_s, second.first_call_s),
        peak_rss_bytes=max(first.peak_rss_bytes, second.peak_rss_bytes),
        doubts=tuple(dict.fromkeys(first.doubts + second.doubts)),
    )


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
    values are then estimates, and the trial cannot be feasible.
    """

    split: str
    primary: str
    rule: str
    values: Mapping[str, float]
    cases: tuple[CaseScore, ...]
    undefined: Mapping[str, int] = field(default_factory=dict)
    pseudo: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    left_out: int = 0

    @property
    def value(self) -> float:
        """The aggregate of the primary metric."""
        return self.values[self.primary]

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
        return stats.group_means([case.scores.get(name) for case in self.cases], [case.group for case in self.cases])


class Status(StrEnum):
    """How a trial ended."""

    COMPLETE = "complete"
    INFEASIBLE = "infeasible"
    FAILED = "failed"


@dataclass(frozen=True)
class Failure:
    """Why a trial failed: the cause (errors.py), the stage, a message, the end of the child's log."""

    cause: str
    stage: str
    message: str
    log_tail: str = ""


@dataclass(frozen=True)
class TrialRecord:
    """One configuration, evaluated. Everything a report, a replay or a deployment needs.

    `artifacts` are the store keys from the first stage to the measured one; `seconds` the wall time
    by kind (`make`, `measure`, `score`); `violated` the limits this trial breaks, by name, with the
    excess; `origin` is seed, sampler or exhaustive; `test` is the quality on test, where the trial was confirmed.
    """

    configuration: Configuration
    status: Status
    number: int = -1
    origin: str = "sampler"
    label: str = ""
    artifacts: tuple[str, ...] = ()
    measurement: Measurement | None = None
    quality: Quality | None = None
    failure: Failure | None = None
    violated: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    started_at: str = ""
    notes: tuple[str, ...] = ()
    test: Quality | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON with the schema version."""
        return {"schema": SCHEMA, **asdict(self), "configuration": self.configuration.sections()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrialRecord:
        """The record that `to_json` wrote. Raises ValueError for a schema this version cannot read."""
        if value.get("schema") not in READABLE:
            raise ValueError(f"a trial record of schema {SCHEMA} is needed, this one has {value.get('schema')!r}")
        fields = {key: item for key, item in value.items() if key != "schema"}
        measurement, quality, failure = fields["measurement"], fields["quality"], fields["failure"]
        return cls(
            **{
                **fields,
                "configuration": Configuration.of(fields["configuration"]),
                "status": Status(fields["status"]),
                "artifacts": tuple(fields["artifacts"]),
                "notes": tuple(fields["notes"]),
                "measurement": None if measurement is None else measurement_from_json(measurement),
                "quality": None if quality is None else quality_from_json(quality),
                "test": quality_from_json(fields["test"]) if fields.get("test") is not None else None,
                "failure": None if failure is None else Failure(**failure),
            }
        )

    def with_number(self, number: int) -> TrialRecord:
        """The same record under the number it got in its study."""
        return replace(self, number=number)


def measurement_from_json(value: Mapping[str, Any]) -> Measurement:
    """The measurement that `dataclasses.asdict` turned into JSON."""
    fields = {"reference_s": (), "residents": (), **value}
    if "calls_s" in fields:  # schema 1
        fields["turns_s"] = [[calls] for calls in fields.pop("calls_s")]
    for name in ("turns_s", "reference_s"):
        fields[name] = tuple(tuple(tuple(calls) for calls in process) for process in fields[name])
    fields["residents"] = tuple(fields["residents"])
    fields["warmups_s"] = tuple(tuple(calls) for calls in fields["warmups_s"])
    fields["cpu_s"] = tuple(fields["cpu_s"])
    fields["doubts"] = tuple(fields["doubts"])
    return Measurement(**fields)


def quality_from_json(value: Mapping[str, Any]) -> Quality:
    """The quality that `dataclasses.asdict` turned into JSON."""
    return Quality(**{**value, "cases": tuple(CaseScore(**case) for case in value["cases"])})


def finite(value: float | None) -> float | None:
    """`value`, or None where it is NaN or infinite: JSON and MLflow have no such numbers."""
    return None if value is None or not math.isfinite(value) else value


@dataclass(frozen=True)
class StudyCard:
    """What makes a study this study. A change of any of `identity()` is another study.

    `space` is the canonical JSON of the space, `objectives` their names in order, `limits` the
    constraints by name (`drop` as a fraction, `latency_s`), which may change between commands.
    `labels` and `pipeline` are what a bundle needs of the workload, `origin` where workload, data and
    weights were loaded from (`source`, `data`, `weights`), so that one trial can be run again. `latency` says what is
    timed: one network call, or a whole case. `calibration` is what `doctor --noise` found of the host: `sigma`, and
    `peaks` by number of threads.
    """

    name: str
    workload: str
    demo: bool
    primary: str
    data_digest: str
    weights_digest: str
    space: str
    objectives: tuple[str, ...]
    seed: int
    host: Host
    limits: Mapping[str, float] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    pipeline: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    latency: str = "call"
    calibration: Mapping[str, Any] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """What must not change within a study."""
        return {
            "workload": self.workload,
            "data": self.data_digest,
            "weights": self.weights_digest,
            "space": digest(self.space),
            "pipeline": digest([dict(self.pipeline), self.latency]),
            "objectives": list(self.objectives),
            "seed": self.seed,
            "host": self.host.fingerprint,
        }

    @property
    def title(self) -> str:
        """The workload as users see it: demo data is always called so."""
        return f"{self.workload} (demo data)" if self.demo else self.workload

    def to_json(self) -> dict[str, Any]:
        """Plain JSON with the schema version."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> StudyCard:
        """The card that `to_json` wrote. Raises ValueError for a schema this version cannot read."""
        if value.get("schema") not in READABLE:
            raise ValueError(f"a study card of schema {SCHEMA} is needed, this one has {value.get('schema')!r}")
        fields = {key: item for key, item in value.items() if key != "schema"}
        host = dict(fields["host"])
        host["isa"] = tuple(host["isa"])
        lists = {name: tuple(fields[name]) for name in ("objectives", "labels")}
        return cls(**{**fields, **lists, "host": Host(**host)})

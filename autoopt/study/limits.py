"""What a trial may not exceed, or fall short of: the limits and guards of a study, and the status they give a record.

A new limit is a function of a record, the reference and the noise between processes, and a line in `LIMITS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from autoopt.core.card import StudyCard
from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import DISAGREEMENT, Quality
from autoopt.study import intervals, uncertainty
from autoopt.study.rounding import rounded_down, rounded_up
from autoopt.study.uncertainty import DEFAULT_SIGMA

SUBGROUP = "subgroup:"
"""Before the name of a column of the cases: the largest mean drop of a subgroup."""
LABEL = "label:"
"""Before the name of a label: the mean drop of its Dice."""
LABEL_METRIC = "dice_"
"""Before the name of a label: the metric that its guard reads."""
WORST_SHARE = 0.1
FAULTLESS = 1e-9
"""What shares of an error that the reference does not make are taken of: it may not rise, and need not be unknown."""
ONE_SIDED = 0.90
"""The confidence of the two-sided interval whose ends are one-sided bounds of 95 %."""

Read = Callable[[TrialRecord, TrialRecord | None, float], float | None]
"""The number of a record against the reference, None where it cannot be known. The last argument is the standard
deviation of log latency between processes of one thing."""


@dataclass(frozen=True)
class Limit:
    """A bound that a study may have: an upper one, or a lower one with `at_least`.

    `text` says what `read` gives, in SI units; `title`, `scale` and `unit` how it is written for people, and `option`
    how it is asked for, with a place for the number. One that is `alone` needs no reference.
    """

    text: str
    read: Read
    title: str = ""
    option: str = ""
    scale: float = 1.0
    unit: str = ""
    at_least: bool = False
    alone: bool = False

    def excess(self, value: float, bound: float) -> float:
        """By how much `value` breaks `bound`; zero or less where it keeps it."""
        return bound - value if self.at_least else value - bound

    def words(self, bound: float) -> str:
        """The bound in words, such as: p25 latency <= 10 ms."""
        return f"{self.title} {'>=' if self.at_least else '<='} {self.number(bound, '.4g')}"

    def number(self, value: float, form: str) -> str:
        """A value in the unit for people."""
        space = " " if self.unit and self.unit != "%" else ""
        return f"{value * self.scale:{form}}{space}{self.unit}"

    def asked(self, bound: float) -> str:
        """The option that asks for a bound that `bound` keeps: with three digits, a little wider."""
        scaled = bound * self.scale
        return self.option.format(f"{rounded_down(scaled) if self.at_least else rounded_up(scaled):g}")


def drop_bound(record: TrialRecord, reference: TrialRecord | None, sigma: float = DEFAULT_SIGMA) -> float | None:
    """The upper bound of the drop (95 %, one-sided), never below the drop itself; of a single case the drop."""
    both = _qualities(record, reference)
    if both is None:
        return None
    before, after = both
    bounds, difference = uncertainty.drop(before, after), before.worth - after.worth
    return max(difference, bounds.upper) if bounds is not None and math.isfinite(bounds.upper) else difference


def relative_drop_bound(
    record: TrialRecord, reference: TrialRecord | None, sigma: float = DEFAULT_SIGMA
) -> float | None:
    """`drop_bound` as a fraction of the reference's value; None where that is 0; see `FAULTLESS`."""
    bound, both = drop_bound(record, reference), _qualities(record, reference)
    least = FAULTLESS if both is not None and both[0].less_is_better else 0.0
    value = 0.0 if both is None else max(least, abs(both[0].value))
    return None if bound is None or value == 0 else bound / value


def drop_limit(limits: Mapping[str, float], before: Quality | None) -> float | None:
    """The most that `limits` let a trial lose of the primary metric against `before`, in its own unit.

    None without a limit on the drop, or where it is relative and nothing is known of the reference.
    """
    found = [limits[DROP]] if DROP in limits else []
    if RELATIVE_DROP in limits and before is not None:
        found.append(limits[RELATIVE_DROP] * abs(before.value))
    return min(found, default=None)


def quality_bound(record: TrialRecord, reference: TrialRecord | None, sigma: float = DEFAULT_SIGMA) -> float | None:
    """The lower bound of the primary metric (95 %, one-sided, over patients), never above the metric itself.

    Of a single patient, and where no values of single patients are known, the metric. None where less of it is better.
    """
    return None if record.quality is None or record.quality.less_is_better else _worst_end(record.quality)


def error_bound(record: TrialRecord, reference: TrialRecord | None, sigma: float = DEFAULT_SIGMA) -> float | None:
    """The upper bound of a primary metric of which less is better, as `quality_bound` is the lower one of others."""
    return _worst_end(record.quality) if record.quality is not None and record.quality.less_is_better else None


def _worst_end(quality: Quality) -> float:
    ends = intervals.quality(quality, quality.primary, ONE_SIDED)
    return quality.value if isinstance(ends, str) else (max if quality.less_is_better else min)(quality.value, *ends)


def latency_s(record: TrialRecord, reference: TrialRecord | None, sigma: float = DEFAULT_SIGMA) -> float | None:
    """The p25 latency in seconds."""
    return None if record.measurement is None else record.measurement.latency_p25_s


def latency_bound_s(record: TrialRecord, reference: TrialRecord | None, sigma: float = DEFAULT_SIGMA) -> float | None:
    """The upper bound of the p25 latency (95 %, one-sided) in seconds."""
    if record.measurement is None:
        return None
    return uncertainty.latency_interval(record.measurement, sigma, ONE_SIDED)[1]


def memory_bytes(record: TrialRecord, reference: TrialRecord | None, sigma: float = DEFAULT_SIGMA) -> float | None:
    """The most memory that a measuring process held, in bytes."""
    return None if record.measurement is None else float(record.measurement.peak_rss_bytes)


def size_bytes(record: TrialRecord, reference: TrialRecord | None, sigma: float = DEFAULT_SIGMA) -> float | None:
    """The size of the graph files in bytes."""
    return None if record.measurement is None else float(record.measurement.artifact_bytes)


def throughput_bound(record: TrialRecord, reference: TrialRecord | None, sigma: float = DEFAULT_SIGMA) -> float | None:
    """The lower bound (95 %, one-sided) of the calls per second under concurrency; None where it was not measured."""
    many = None if record.measurement is None else record.measurement.concurrent
    return None if many is None else 1 / uncertainty.latency_interval(many, sigma, ONE_SIDED)[1]


def asks_for_throughput(card: StudyCard) -> bool:
    """Whether the trials of a study are measured under concurrency: where it is an objective or limited."""
    return "throughput" in card.objectives or THROUGHPUT in card.limits


def worst_decile(record: TrialRecord, reference: TrialRecord | None, sigma: float = DEFAULT_SIGMA) -> float | None:
    """The mean drop of the tenth of the groups that lost most, at least one group (expected shortfall)."""
    drops = _drops_by_group(record, reference)
    if not drops:
        return None
    count = max(1, math.ceil(WORST_SHARE * len(drops)))
    return float(np.mean(sorted(drops.values())[-count:]))


def worst_subgroup(column: str) -> Read:
    """Reads the largest mean drop of the cases that share a value in `column`."""

    def read(record: TrialRecord, reference: TrialRecord | None, sigma: float = DEFAULT_SIGMA) -> float | None:
        drops = subgroup_drops(column, record, reference)
        return max(drops.values(), default=None)

    return read


def subgroup_drops(column: str, record: TrialRecord, reference: TrialRecord | None) -> dict[str, float]:
    """The mean drop over the groups of each subgroup, by the value of `column`; a group may be in several."""
    both = _qualities(record, reference)
    if both is None:
        return {}
    found = {}
    values = sorted({case.tags[column] for case in both[1].cases if column in case.tags})
    for value in values:
        kept = [_only(quality, column, value).worth_by_group() for quality in both]
        common = [kept[0][group] - kept[1][group] for group in kept[0] if group in kept[1]]
        if common:
            found[value] = float(np.mean(common))
    return found


def label_drop(label: str) -> Read:
    """Reads the mean drop over the groups of the Dice of `label`; None where no scores of it are stored."""

    def read(record: TrialRecord, reference: TrialRecord | None, sigma: float = DEFAULT_SIGMA) -> float | None:
        drops = _drops_by_group(record, reference, f"{LABEL_METRIC}{label}")
        return float(np.mean(list(drops.values()))) if drops else None

    return read


def disagreement(record: TrialRecord, reference: TrialRecord | None, sigma: float = DEFAULT_SIGMA) -> float | None:
    """The mean share of voxels (or decisions) in which the prediction differs from the source model's."""
    return None if record.quality is None else record.quality.values.get(DISAGREEMENT)


DROP, RELATIVE_DROP, QUALITY, ERROR = "drop", "relative_drop", "quality", "error"
LATENCY, LATENCY_BOUND = "latency_s", "latency_bound_s"
MEMORY, SIZE, THROUGHPUT = "memory_bytes", "size_bytes", "concurrent_per_s"
LIMITS: dict[str, Limit] = {
    DROP: Limit(
        "the upper bound (95 %, one-sided) of the primary quality lost against the reference",
        drop_bound,
        "drop",
        "--max-drop {}",
    ),
    RELATIVE_DROP: Limit(
        "the same bound as a fraction of the reference's value",
        relative_drop_bound,
        "drop (relative)",
        "--max-drop {}%",
        100.0,
        "%",
    ),
    QUALITY: Limit(
        "the lower bound (95 %, one-sided) of the primary quality",
        quality_bound,
        "quality (lower bound)",
        "--min-quality {}",
        at_least=True,
        alone=True,
    ),
    ERROR: Limit(
        "the upper bound (95 %, one-sided) of a primary metric of which less is better",
        error_bound,
        "error (upper bound)",
        "--min-quality {}",
        alone=True,
    ),
    LATENCY: Limit(
        "p25 seconds per call, as limited by earlier versions",
        latency_s,
        "p25 latency",
        "--max-latency {}ms",
        1e3,
        "ms",
        alone=True,
    ),
    LATENCY_BOUND: Limit(
        "the upper bound (95 %, one-sided) of p25 seconds per call",
        latency_bound_s,
        "p25 latency (upper bound)",
        "--max-latency {}ms",
        1e3,
        "ms",
        alone=True,
    ),
    MEMORY: Limit(
        "the most bytes of memory that a measuring process held",
        memory_bytes,
        "peak memory",
        "--max-memory {}MB",
        1e-6,
        "MB",
        alone=True,
    ),
    SIZE: Limit("the bytes of the graph files", size_bytes, "size", "--max-size {}MB", 1e-6, "MB", alone=True),
    THROUGHPUT: Limit(
        "the lower bound (95 %, one-sided) of the calls per second under concurrency",
        throughput_bound,
        "throughput (lower bound)",
        "--min-throughput {}",
        unit="calls/s",
        at_least=True,
        alone=True,
    ),
    "worst_decile": Limit("the mean drop of the tenth of the groups that lose most", worst_decile),
    DISAGREEMENT: Limit("the mean share of voxels labelled unlike the source model does", disagreement),
}
"""Name to limit; `subgroup:COLUMN` is one more for each column of the cases, `label:NAME` for each label. One without
an option is a guard."""
GUARDS = ("worst_decile", DISAGREEMENT, f"{SUBGROUP}COLUMN", f"{LABEL}NAME")
"""The limits that `--guard` takes."""
_NAMED = {SUBGROUP: GUARDS[-2], LABEL: GUARDS[-1]}
"""Guards that end with a name, by how they begin: how they are shown."""


def is_guard(name: str) -> bool:
    """Whether `--guard` takes the name."""
    named = any(name.startswith(start) and name not in (start, shown) for start, shown in _NAMED.items())
    return named or name in GUARDS[: -len(_NAMED)]


def unknown_of(
    record: TrialRecord,
    reference: TrialRecord | None,
    limits: Mapping[str, float],
    sigma: float = DEFAULT_SIGMA,
) -> list[str]:
    """The names of the limits of which the record of a measured trial tells nothing; all that need a reference
    where there is none."""
    return [
        name
        for name in limits
        if (reference is None and needs_reference(name)) or _number(name, record, reference, sigma) is None
    ]


def needs_reference(name: str) -> bool:
    """Whether the limit compares a trial with the reference."""
    return not limit(name).alone


def limit(name: str) -> Limit:
    """The limit called `name`. Raises KeyError."""
    if name.startswith(SUBGROUP):
        column = name.removeprefix(SUBGROUP)
        found = Limit(f"the largest mean drop of the cases that share a value of {column}", worst_subgroup(column))
    elif name.startswith(LABEL):
        label = name.removeprefix(LABEL)
        found = Limit(f"the mean drop of the Dice of {label}", label_drop(label))
    else:
        found = LIMITS[name]
    return found if found.option else replace(found, title=name, option=f"--guard {name}={{}}")


def in_words(limits: Mapping[str, float]) -> str:
    """The limits in words, such as: drop <= 0.01 and p25 latency <= 10 ms; empty without limits."""
    return " and ".join(limit(name).words(bound) for name, bound in sorted(limits.items()))


def violations(
    record: TrialRecord,
    reference: TrialRecord | None,
    limits: Mapping[str, float],
    sigma: float = DEFAULT_SIGMA,
) -> dict[str, float]:
    """By how much `record` exceeds each of `limits`, or falls short (positive: violated; zero or less: kept).

    What it does not tell is left out. `sigma` is the standard deviation of log latency between processes.
    """
    numbers = {name: _number(name, record, reference, sigma) for name in limits}
    return {name: limit(name).excess(number, limits[name]) for name, number in numbers.items() if number is not None}


def judge(
    record: TrialRecord,
    reference: TrialRecord | None,
    limits: Mapping[str, float],
    sigma: float = DEFAULT_SIGMA,
) -> TrialRecord:
    """The record with the status that `limits` give it; a failed one stays failed.

    One that was scored on a few cases only is infeasible, also when a later limit is wider. One of which a limit cannot
    be read is never complete: what is not known does not pass.
    """
    if record.status is Status.FAILED:
        return record
    partly = record.quality is not None and record.quality.left_out > 0
    excesses = violations(record, reference, limits, sigma)
    violated = {name: excess for name, excess in excesses.items() if excess > 0}
    if violated or partly:
        status = Status.INFEASIBLE
    else:
        status = Status.UNKNOWN if unknown_of(record, reference, limits, sigma) else Status.COMPLETE
    return replace(record, status=status, violated=violated)


def _number(name: str, record: TrialRecord, reference: TrialRecord | None, sigma: float) -> float | None:
    """What the limit called `name` is compared with; None where it cannot be known, or is no number."""
    number = limit(name).read(record, reference, sigma)
    return None if number is None or math.isnan(number) else number


def _qualities(record: TrialRecord, reference: TrialRecord | None) -> tuple[Quality, Quality] | None:
    if record.quality is None or reference is None or reference.quality is None:
        return None
    return reference.quality, record.quality


def _drops_by_group(record: TrialRecord, reference: TrialRecord | None, metric: str | None = None) -> dict[str, float]:
    both = _qualities(record, reference)
    if both is None:
        return {}
    before, after = (quality.worth_by_group(metric) for quality in both)
    return {group: before[group] - after[group] for group in before if group in after}


def _only(quality: Quality, column: str, value: str) -> Quality:
    """The quality of the cases of one subgroup; what only a whole split has is not known of it."""
    cases = tuple(case for case in quality.cases if case.tags.get(column) == value)
    return replace(quality, cases=cases, pseudo={})

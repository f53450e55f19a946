"""What a trial may not exceed: the limits and guards of a study, and the status they give a record.

A new limit is a function of a record and the reference, and a line in `LIMITS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import DISAGREEMENT, Quality
from autoopt.study import uncertainty

SUBGROUP = "subgroup:"
"""Before the name of a column of the cases: the largest mean drop of a subgroup."""
WORST_SHARE = 0.1


@dataclass(frozen=True)
class Limit:
    """An upper bound that a study may have.

    `read` gives the number of a record against the reference, None where it cannot be known; `text` says what it is.
    """

    text: str
    read: Callable[[TrialRecord, TrialRecord | None], float | None]


def drop_bound(record: TrialRecord, reference: TrialRecord | None) -> float | None:
    """The upper bound of the drop (95 %, one-sided), never below the drop itself; of a single case the drop."""
    both = _qualities(record, reference)
    if both is None:
        return None
    before, after = both
    bounds, difference = uncertainty.drop(before, after), before.value - after.value
    return max(difference, bounds.upper) if bounds is not None and math.isfinite(bounds.upper) else difference


def latency_s(record: TrialRecord, reference: TrialRecord | None) -> float | None:
    """The p25 latency in seconds."""
    return None if record.measurement is None else record.measurement.latency_p25_s


def worst_decile(record: TrialRecord, reference: TrialRecord | None) -> float | None:
    """The mean drop of the tenth of the groups that lost most, at least one group (expected shortfall)."""
    drops = _drops_by_group(record, reference)
    if not drops:
        return None
    count = max(1, math.ceil(WORST_SHARE * len(drops)))
    return float(np.mean(sorted(drops.values())[-count:]))


def worst_subgroup(column: str) -> Callable[[TrialRecord, TrialRecord | None], float | None]:
    """Reads the largest mean drop of the cases that share a value in `column`."""

    def read(record: TrialRecord, reference: TrialRecord | None) -> float | None:
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
        kept = [_only(quality, column, value).by_group() for quality in both]
        common = [kept[0][group] - kept[1][group] for group in kept[0] if group in kept[1]]
        if common:
            found[value] = float(np.mean(common))
    return found


def disagreement(record: TrialRecord, reference: TrialRecord | None) -> float | None:
    """The mean share of voxels (or decisions) in which the prediction differs from the source model's."""
    return None if record.quality is None else record.quality.values.get(DISAGREEMENT)


LATENCY = "latency_s"
LIMITS: Mapping[str, Limit] = {
    "drop": Limit("the upper bound (95 %, one-sided) of the primary quality lost against the reference", drop_bound),
    LATENCY: Limit("p25 seconds per call", latency_s),
    "worst_decile": Limit("the mean drop of the tenth of the groups that lose most", worst_decile),
    DISAGREEMENT: Limit("the mean share of voxels labelled unlike the source model does", disagreement),
}
"""Name to limit; `subgroup:COLUMN` is one more for each column of the cases."""
GUARDS = ("worst_decile", DISAGREEMENT, f"{SUBGROUP}COLUMN")
"""The limits that `--guard` takes."""


def is_guard(name: str) -> bool:
    """Whether `--guard` takes the name."""
    return name in GUARDS[:-1] or (name.startswith(SUBGROUP) and name not in (SUBGROUP, GUARDS[-1]))


def unknown_of(record: TrialRecord, reference: TrialRecord | None, limits: Mapping[str, float]) -> list[str]:
    """The names of the limits of which the record of a measured trial tells nothing; all that need a reference
    where there is none."""
    return [
        name
        for name in limits
        if (reference is None and needs_reference(name)) or _number(name, record, reference) is None
    ]


def needs_reference(name: str) -> bool:
    """Whether the limit compares a trial with the reference: all do but the one on latency."""
    return name != LATENCY


def limit(name: str) -> Limit:
    """The limit called `name`. Raises KeyError."""
    if name.startswith(SUBGROUP):
        column = name.removeprefix(SUBGROUP)
        return Limit(f"the largest mean drop of the cases that share a value of {column}", worst_subgroup(column))
    return LIMITS[name]


def violations(record: TrialRecord, reference: TrialRecord | None, limits: Mapping[str, float]) -> dict[str, float]:
    """By how much `record` exceeds each of `limits` (positive: violated; zero or less: kept)."""
    numbers = {name: _number(name, record, reference) for name in limits}
    return {name: number - limits[name] for name, number in numbers.items() if number is not None}


def judge(record: TrialRecord, reference: TrialRecord | None, limits: Mapping[str, float]) -> TrialRecord:
    """The record with the status that `limits` give it; a failed one stays failed.

    One that was scored on a few cases only is infeasible, also when a later limit is wider. One of which a limit cannot
    be read is never complete: what is not known does not pass.
    """
    if record.status is Status.FAILED:
        return record
    partly = record.quality is not None and record.quality.left_out > 0
    violated = {name: excess for name, excess in violations(record, reference, limits).items() if excess > 0}
    if violated or partly:
        status = Status.INFEASIBLE
    else:
        status = Status.UNKNOWN if unknown_of(record, reference, limits) else Status.COMPLETE
    return replace(record, status=status, violated=violated)


def _number(name: str, record: TrialRecord, reference: TrialRecord | None) -> float | None:
    """What the limit called `name` is compared with; None where it cannot be known, or is no number."""
    number = limit(name).read(record, reference)
    return None if number is None or math.isnan(number) else number


def _qualities(record: TrialRecord, reference: TrialRecord | None) -> tuple[Quality, Quality] | None:
    if record.quality is None or reference is None or reference.quality is None:
        return None
    return reference.quality, record.quality


def _drops_by_group(record: TrialRecord, reference: TrialRecord | None) -> dict[str, float]:
    both = _qualities(record, reference)
    if both is None:
        return {}
    before, after = (quality.by_group() for quality in both)
    return {group: before[group] - after[group] for group in before if group in after}


def _only(quality: Quality, column: str, value: str) -> Quality:
    """The quality of the cases of one subgroup; what only a whole split has is not known of it."""
    cases = tuple(case for case in quality.cases if case.tags.get(column) == value)
    return replace(quality, cases=cases, pseudo={})

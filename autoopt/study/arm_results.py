"""Where the named arms of a study stand beside its front: on it, tied with a member, dominated by one, or neither."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from autoopt.core import stats
from autoopt.core.records import ARM, Status, TrialRecord
from autoopt.study import uncertainty
from autoopt.study.result import StudyResult

COMPARED = ("latency", "throughput", "quality")
"""The objectives whose noise `uncertainty.tied` knows."""


class ArmStatus(StrEnum):
    """What can be said of an arm."""

    ON_FRONT = "on the front"
    TIED = "tied"
    DOMINATED = "dominated"
    BREAKS_LIMIT = "breaks a limit"
    UNKNOWN = "not comparable"
    FAILED = "failed"
    NOT_TRIED = "not tried"


@dataclass(frozen=True)
class ArmResult:
    """An arm by its name, its trial, and where it stands.

    `record` is None where it was not tried. `by` is the member of the front that dominates it or is tied with it,
    `slower` how many times as long a call of the arm takes as one of that member, `lost` what the arm loses in the
    primary metric against that member.
    """

    name: str
    status: ArmStatus
    record: TrialRecord | None = None
    by: TrialRecord | None = None
    slower: stats.LogRatio | None = None
    lost: stats.Drop | None = None


def arm_results(result: StudyResult) -> tuple[ArmResult, ...]:
    """All arms of a study in the order of its space file; empty where it has none.

    An arm that a member of the front dominates by the measured numbers is called dominated only where it can be told
    apart from one such member at 95 %; otherwise the two are tied.
    """
    trials = {record.configuration.digest: record for record in result.judged}
    labelled = {record.label: record for record in result.judged if record.origin == ARM}
    names = {**result.card.arms, **{label: "" for label in labelled if label not in result.card.arms}}
    return tuple(_result(result, name, trials.get(digest) or labelled.get(name)) for name, digest in names.items())


def _result(result: StudyResult, name: str, record: TrialRecord | None) -> ArmResult:
    if record is None:
        return ArmResult(name, ArmStatus.NOT_TRIED)
    # What runs the same files as an earlier trial gave its samples to that one.
    record = result.by_number(result.duplicates.get(record.number, record.number)) or record
    if record.status is not Status.COMPLETE:
        return ArmResult(name, _INCOMPLETE[record.status], record)
    if any(record.number == member.number for member in result.front):
        return ArmResult(name, ArmStatus.ON_FRONT, record)
    members = _dominating(result, record)
    apart = [member for member in members if _told_apart(result, member, record)]
    member = (apart or members)[0]
    assert record.quality is not None and member.quality is not None  # both are complete
    return ArmResult(
        name,
        ArmStatus.DOMINATED if apart else ArmStatus.TIED,
        record,
        member,
        uncertainty.slower(record.measured, member.measured, result.sigma),
        uncertainty.drop(member.quality, record.quality),
    )


_INCOMPLETE = {
    Status.INFEASIBLE: ArmStatus.BREAKS_LIMIT,
    Status.UNKNOWN: ArmStatus.UNKNOWN,
    Status.FAILED: ArmStatus.FAILED,
}


def _dominating(result: StudyResult, record: TrialRecord) -> list[TrialRecord]:
    """The members of the front that are at least as good in every objective, fastest first; of a complete record that
    is no member itself there is always one."""
    members, point = result.points(result.front), result.points((record,))[0]
    behind = np.all(members <= point, axis=1)
    return [member for member, dominates in zip(result.front, behind, strict=True) if dominates]


def _told_apart(result: StudyResult, member: TrialRecord, record: TrialRecord) -> bool:
    """Whether the noise does not explain all differences of the objectives."""
    if not uncertainty.tied(member, record, result.sigma):
        return True
    first, second = result.log_points((member, record))
    noise = result.noise(record)
    names = result.card.objectives
    gaps = {name: abs(first[place] - second[place]) for place, name in enumerate(names) if name not in COMPARED}
    return any(gap > noise.get(name, 0.0) for name, gap in gaps.items())

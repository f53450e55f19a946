"""Why a trial is not on the front for a reason of its own: the limits that it breaks, how it failed."""

from __future__ import annotations

from autoopt.core.records import Failure, Status, TrialRecord
from autoopt.study.limits import limit, unknown_of
from autoopt.study.result import StudyResult

MOST_LOG = 2000
"""Characters of the end of a log that are shown: a page of many failures stays small."""


def reason(result: StudyResult, record: TrialRecord) -> str:
    """Why a judged record is infeasible, unknown or failed, in a line; empty where it is complete."""
    if record.failure is not None:
        return f"{record.failure.cause} in {record.failure.stage}"
    if record.status is Status.INFEASIBLE:
        broken = [_broken(name, excess, result.card.limits[name]) for name, excess in sorted(record.violated.items())]
        return "; ".join([*broken, *_screened(record)])
    if record.status is Status.UNKNOWN:
        untold = unknown_of(record, result.reference, result.card.limits, result.sigma)
        return f"tells nothing of {' and '.join(limit(name).title for name in untold)}" if untold else "not comparable"
    return ""


def log_end(failure: Failure) -> str:
    """The end of the log of a failed trial, cut at a line; empty without a log."""
    text = failure.log_tail.strip("\n")
    if len(text) <= MOST_LOG:
        return text
    return f"... {text[-MOST_LOG:].partition(chr(10))[2] or text[-MOST_LOG:]}"


def _broken(name: str, excess: float, bound: float) -> str:
    one = limit(name)
    return f"{one.words(bound)} missed by {one.number(excess, '.3g' if one.unit else '.4f')}"


def _screened(record: TrialRecord) -> list[str]:
    scored = record.quality
    if scored is None or not scored.left_out:
        return []
    return [f"estimated from {len(scored.cases)} of {len(scored.cases) + scored.left_out} cases"]

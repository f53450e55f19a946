"""Pick one member of a study's front, by limits and a policy, and say in a sentence why that one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from autoopt.core import pareto
from autoopt.core.records import TrialRecord
from autoopt.deploy.nothing_fits import limits_text, nothing_fits, numbers_text
from autoopt.errors import NothingFits, UsageError
from autoopt.study.numbers import objectives
from autoopt.study.result import StudyResult
from autoopt.study.short_names import describe


@dataclass(frozen=True)
class Choice:
    """The picked member of the front, and a sentence that says why.

    `pick` is the policy, `limits` are the upper bounds that held for the pick: `latency_s` in seconds, `drop` and the
    guards as fractions.
    """

    record: TrialRecord
    explanation: str
    pick: str = "balanced"
    limits: Mapping[str, float] | None = None


def choose(
    result: StudyResult,
    *,
    max_latency_s: float | None = None,
    max_drop: float | None = None,
    pick: str | None = None,
) -> Choice:
    """Pick a member of the front within the limits; a limit that is not given stays the study's own.

    `max_latency_s` is the p25 latency in seconds, `max_drop` the loss of the primary metric as a fraction. `pick` is a
    policy: fastest, balanced (the knee of the front), best-quality or smallest; without it `default_pick` names one.
    Of equal members the one with the smaller latency is taken, then the better quality, the smaller files, the earlier
    trial. Raises NothingFits naming the limit that no member keeps, UsageError for arguments that make no sense.
    """
    _check_arguments(max_latency_s, max_drop, pick)
    given = {"drop": max_drop, "latency_s": max_latency_s}
    limits = {**result.card.limits, **{name: value for name, value in given.items() if value is not None}}
    within = replace(result, card=replace(result.card, limits=limits))
    if not within.front:
        raise NothingFits(nothing_fits(within))
    pick = pick or default_pick(max_latency_s, max_drop)
    record = POLICIES[pick](within)
    return Choice(record, _explanation(within, record, pick), pick, limits)


def default_pick(max_latency_s: float | None, max_drop: float | None) -> str:
    """The policy when none is named: the number that was not limited is optimised.

    With a limit on the drop alone the fastest, with one on the latency alone the best quality, else the balanced one.
    """
    if (max_latency_s is None) == (max_drop is None):
        return "balanced"
    return "fastest" if max_latency_s is None else "best-quality"


def _fastest(result: StudyResult) -> TrialRecord:
    return min(result.front, key=lambda record: _order(record, "latency", "quality", "size"))


def _best_quality(result: StudyResult) -> TrialRecord:
    return min(result.front, key=lambda record: _order(record, "quality", "latency", "size"))


def _smallest(result: StudyResult) -> TrialRecord:
    return min(result.front, key=lambda record: _order(record, "size", "latency", "quality"))


def _balanced(result: StudyResult) -> TrialRecord:
    """The knee of the front in all objectives of the study; those whose ratios matter enter as logarithms."""
    members = tuple(sorted(result.front, key=lambda record: _order(record, "latency", "quality", "size")))
    return members[pareto.knee(result.log_points(members))]


def _order(record: TrialRecord, *names: str) -> tuple[float, ...]:
    """The sort key of a record: the named objectives, smallest first, then the number of the trial."""
    return (*(objectives()[name].minimised(record) for name in names), record.number)


POLICIES: dict[str, Callable[[StudyResult], TrialRecord]] = {
    "fastest": _fastest,
    "balanced": _balanced,
    "best-quality": _best_quality,
    "smallest": _smallest,
}
"""Name to policy: a function that picks from a front that is not empty."""
PICKS = tuple(POLICIES)
"""What `--pick` takes."""
_REASONS = {
    "fastest": "it has the smallest p25 latency",
    "balanced": "it is the knee of the front, beyond which each gain costs more than it brings",
    "best-quality": "it has the best {primary}",
    "smallest": "it has the smallest files",
}


def _check_arguments(max_latency_s: float | None, max_drop: float | None, pick: str | None) -> None:
    problems = []
    if max_latency_s is not None and not max_latency_s > 0:
        problems.append(f"--max-latency must be longer than 0, got {max_latency_s:g} s")
    if max_drop is not None and not 0 <= max_drop <= 1:
        problems.append(f"--max-drop must be a fraction from 0 to 1, got {max_drop:g}")
    if pick is not None and pick not in PICKS:
        problems.append(f"--pick must be one of {', '.join(PICKS)}, got {pick!r}")
    if problems:
        raise UsageError(*problems)


def _explanation(result: StudyResult, record: TrialRecord, pick: str) -> str:
    limits = limits_text(result.card.limits)
    count = len(result.front)
    members = f"{count} member{'s' if count != 1 else ''} of the front of {result.card.name} ({result.card.title})"
    reason = _REASONS[pick].format(primary=result.card.primary)
    return (
        f"picked trial #{record.number} ({describe(record.configuration)}) by policy {pick}: of the {members}"
        f"{' with ' + limits if limits else ''}, {reason}. {numbers_text(result, record)}"
        f"{'; ' + result.stand_in if result.stand_in else ''}"
        f"{'. ' + result.card.weights_remark if result.card.weights_remark else ''}"
    )

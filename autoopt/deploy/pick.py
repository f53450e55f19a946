"""Pick one member of a study's front, by limits and a policy, and say in a sentence why that one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Unpack

from autoopt.core import pareto
from autoopt.core.records import TrialRecord
from autoopt.deploy.nothing_fits import nothing_fits, numbers_text
from autoopt.errors import NothingFits, UsageError
from autoopt.study.limit_arguments import LimitArguments, LimitFacts
from autoopt.study.limits import in_words
from autoopt.study.numbers import objectives
from autoopt.study.result import StudyResult
from autoopt.study.short_names import describe


@dataclass(frozen=True)
class Choice:
    """The picked member of the front, and a sentence that says why.

    `pick` is the policy, `limits` are those that held for the pick, by the names of `limits.LIMITS`, in SI units.
    """

    record: TrialRecord
    explanation: str
    pick: str = "balanced"
    limits: Mapping[str, float] | None = None


def choose(
    result: StudyResult,
    *,
    pick: str | None = None,
    **given: Unpack[LimitFacts],
) -> Choice:
    """Pick a member of the front within the limits; a limit that is not given stays the study's own.

    `given` are the fields of `LimitArguments`. `pick` is a policy: fastest, balanced (the knee of the front),
    best-quality or smallest; without it `default_pick` names one. Of equal members the one with the smaller latency is
    taken, then the better quality, the smaller files, the earlier trial. Raises NothingFits naming the limit that no
    member keeps, UsageError for arguments that make no sense.
    """
    asked = LimitArguments(**given)
    problems = asked.problems()
    if pick is not None and pick not in PICKS:
        problems.append(f"--pick must be one of {', '.join(PICKS)}, got {pick!r}")
    if problems:
        raise UsageError(*problems)
    limits = asked.over(result.card.limits)
    within = replace(result, card=replace(result.card, limits=limits))
    if not within.front:
        raise NothingFits(nothing_fits(within))
    pick = pick or default_pick(asked)
    record = POLICIES[pick](within)
    return Choice(record, _explanation(within, record, pick), pick, limits)


def default_pick(asked: LimitArguments) -> str:
    """The policy when none is named: the number that was not limited is optimised.

    With a limit on the quality but none on the latency the fastest, the other way round the best quality, else the
    balanced one.
    """
    latency, quality = "max_latency_s" in asked.given, bool({"max_drop", "min_quality"} & asked.given)
    if latency == quality:
        return "balanced"
    return "fastest" if quality else "best-quality"


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


def _explanation(result: StudyResult, record: TrialRecord, pick: str) -> str:
    limits = in_words(result.card.limits)
    count = len(result.front)
    members = f"{count} member{'s' if count != 1 else ''} of the front of {result.card.name} ({result.card.title})"
    reason = _REASONS[pick].format(primary=result.card.primary)
    return (
        f"picked trial #{record.number} ({describe(record.configuration)}) by policy {pick}: of the {members}"
        f"{' with ' + limits if limits else ''}, {reason}. {numbers_text(result, record)}"
        f"{'; ' + result.stand_in if result.stand_in else ''}"
        f"{'. ' + result.card.weights_remark if result.card.weights_remark else ''}"
    )

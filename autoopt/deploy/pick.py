"""Pick one member of a study's front, by limits and a policy, and say in a sentence why that one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Unpack

from autoopt.core.records import TrialRecord
from autoopt.deploy.nothing_fits import nothing_fits, numbers_text
from autoopt.deploy.policies import PICKS, POLICIES, REASONS, Candidate, default_policy
from autoopt.errors import NothingFits, UsageError
from autoopt.study import words
from autoopt.study.limit_arguments import LimitArguments, LimitFacts
from autoopt.study.limits import in_words
from autoopt.study.numbers import objectives
from autoopt.study.result import StudyResult


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
    check_asked(asked, pick)
    limits = asked.over(result.card.limits, less_is_better=result.card.less_is_better)
    within = replace(result, card=replace(result.card, limits=limits))
    if not within.front:
        raise NothingFits(nothing_fits(within))
    pick = pick or default_pick(asked)
    record = picked(within, pick)
    return Choice(record, _explanation(within, record, pick), pick, limits)


def check_asked(asked: LimitArguments, pick: str | None) -> None:
    """Raise UsageError with everything that is wrong with limits and the name of a policy."""
    problems = asked.problems()
    if pick is not None and pick not in PICKS:
        problems.append(f"--pick must be one of {', '.join(PICKS)}, got {pick!r}")
    if problems:
        raise UsageError(*problems)


def default_pick(asked: LimitArguments) -> str:
    """The policy when none is named: see `policies.default_policy`."""
    quality = bool({"max_drop", "min_quality"} & asked.given)
    return default_policy(latency_limited="max_latency_s" in asked.given, quality_limited=quality)


def picked(result: StudyResult, pick: str) -> TrialRecord:
    """The member of a front that is not empty which the policy `pick` takes."""
    chosen = POLICIES[pick]([candidate(record, result) for record in result.front], result.card.objectives)
    return next(record for record in result.front if record.number == chosen.number)


def candidate(record: TrialRecord, result: StudyResult) -> Candidate:
    """A measured trial of a study as a policy sees it."""
    known = {name: number for name, number in objectives().items() if number.known(record)}
    minimised = {name: number.minimised(record) for name, number in known.items()}
    return Candidate(record.number, minimised, result.noise(record))


def _explanation(result: StudyResult, record: TrialRecord, pick: str) -> str:
    limits = in_words(result.card.limits)
    count = len(result.front)
    members = f"{count} member{'s' if count != 1 else ''} of the front of {result.card.name} ({result.card.title})"
    reason = REASONS.get(pick, f"{pick} takes it").format(primary=result.card.primary)
    return (
        f"picked trial #{record.number} ({words.in_words(record.configuration)}) by policy {pick}: of the {members}"
        f"{' with ' + limits if limits else ''}, {reason}. {numbers_text(result, record)}"
        f"{'; ' + result.stand_in if result.stand_in else ''}"
        f"{'. ' + result.card.weights_remark if result.card.weights_remark else ''}"
    )

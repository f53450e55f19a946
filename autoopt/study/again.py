"""A study measured again: its reference and its front, as they are stored, on this host and with these versions.

What comes out is a study of its own that names the first one. Members are held against the reference beside them, then
and now, so that a host that is faster as a whole breaks nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from autoopt.core.card import AGAIN, StudyCard
from autoopt.core.records import Status, TrialRecord
from autoopt.errors import NothingFits
from autoopt.measure.gate import Slowdown, slowdown
from autoopt.measure.noise import calibration
from autoopt.measure.target import Target
from autoopt.measure.timing import MeasuringPlan
from autoopt.study import uncertainty
from autoopt.study.events import Listener, silent
from autoopt.study.limits import in_words
from autoopt.study.loop import Loop
from autoopt.study.prepare import Prepared
from autoopt.study.proposals import SEED, Proposal
from autoopt.study.replay import prepare_as_before
from autoopt.study.result import SETTLED, StudyResult
from autoopt.study.runner import LocalRunner
from autoopt.study.sink import Sink, opened
from autoopt.study.storage import study_names
from autoopt.study.study import open_study
from autoopt.study.trial.kept import kept


@dataclass(frozen=True)
class MemberAgain:
    """A member of the front, then and now; `now` is None where the time did not reach it.

    `slower` is the time of a call over that of the reference, now against then. `reasons` say why it does not stay,
    `changed` what the runtime does otherwise than before.
    """

    then: TrialRecord
    now: TrialRecord | None
    slower: Slowdown | None
    reasons: tuple[str, ...]
    changed: tuple[str, ...] = ()

    @property
    def stays(self) -> bool:
        """Whether it runs, keeps the limits of its study, and no other member is surely better."""
        return not self.reasons


@dataclass(frozen=True)
class StudyAgain:
    """A study and what was found when its front was measured again, as a study too."""

    before: StudyResult
    after: StudyResult

    @cached_property
    def members(self) -> tuple[MemberAgain, ...]:
        """The members of the first study's front, fastest first."""
        return tuple(map(self._member, self.before.front))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "study": self.before.card.name,
            "again": self.after.card.name,
            "demo": self.before.card.demo,
            "reference": {
                "then": _numbers(self.before, self.before.reference),
                "now": _numbers(self.after, self.after.reference),
            },
            "members": [
                {
                    "trial": member.then.number,
                    "trial_again": None if member.now is None else member.now.number,
                    "stays": member.stays,
                    "reasons": list(member.reasons),
                    "changed": list(member.changed),
                    "slower": None if member.slower is None else asdict(member.slower),
                    "then": _numbers(self.before, member.then),
                    "now": _numbers(self.after, member.now),
                }
                for member in self.members
            ],
        }

    def _member(self, then: TrialRecord) -> MemberAgain:
        now = self._found(then)
        slower = None
        if now is not None and now.measurement is not None:
            one, other = then.measured.relative, now.measurement.relative
            if one is not None and other is not None:
                slower = slowdown(one, other, max(self.before.sigma, self.after.sigma))
        reasons = why_no_member(now, self.after, self._number_before)
        return MemberAgain(then, now, slower, tuple(reasons), tuple(_changed(then, now)))

    def _found(self, then: TrialRecord) -> TrialRecord | None:
        return next((item for item in self.after.judged if item.configuration == then.configuration), None)

    def _number_before(self, now: TrialRecord) -> int:
        return next(item.number for item in self.before.judged if item.configuration == now.configuration)


def why_no_member(
    now: TrialRecord | None, study: StudyResult, number: Callable[[TrialRecord], int] = lambda record: record.number
) -> Iterator[str]:
    """Why a judged trial of `study` has no place on its front, in words; nothing where it has one.

    It has one unless it fails, breaks a limit or is surely behind; `number` is what another trial is called.
    """
    if now is None:
        yield "it was not measured again"
    elif now.failure is not None:
        yield f"it failed ({now.failure.cause}): {now.failure.message}"
    elif now.status is Status.INFEASIBLE:
        yield f"it breaks {in_words({name: study.card.limits[name] for name in now.violated})}"
    elif now.status is Status.UNKNOWN:
        yield "whether it keeps the limits cannot be told"
    elif (better := _better(now, study)) is not None:
        yield f"#{number(better)} is surely faster here and no worse"


def _better(now: TrialRecord, study: StudyResult) -> TrialRecord | None:
    """The member of the front that is surely faster than a complete trial and in nothing worse."""
    for other in study.front:
        if other.configuration == now.configuration:
            return None
        own, others = study.points((now, other))
        low, _ = uncertainty.slower(now.measured, other.measured, study.sigma).interval()
        if (others <= own).all() and low > 1:
            return other
    return None


def measure_again(
    before: StudyResult,
    home: Path,
    storage_url: str,
    *,
    sinks: Sequence[Sink] = (),
    plan: MeasuringPlan | None = None,
    listener: Listener = silent,
    target: Target | None = None,
) -> StudyAgain:
    """Measure and score the references and the front of a study as they are stored, on `target`.

    Without one it is the machine that the study names, else this host. Nothing is made and nothing is added to the
    study: the new one is stored beside it. Raises NothingFits for an empty front, StorageError where an artifact is
    gone, UsageError where workload, weights or data changed since.
    """
    if not before.front:
        raise NothingFits(f"study {before.card.name} has no front to measure again")
    with ExitStack() as held:
        prepared = held.enter_context(closing(prepare_as_before(before.card, home, target, measures=True)))
        card = _card(before.card, prepared, storage_url)
        prepared = replace(prepared, card=card, storage_url=storage_url)
        records = _measured_again(before)
        given = [_proposal(record) for record in records]
        stored = kept(records, prepared.store, before.card.name)
        runner = held.enter_context(LocalRunner(prepared.builder, plan=plan, kept=stored))
        empty = StudyResult(card, ())
        loop = Loop(runner, sinks, budget=len(given), before=empty, listener=listener)
        loop.estimate_s = lambda done: _left_s(done, len(given))
        for sink in sinks:
            sink.check()
        runner.open(prepared, empty, loop.on_stage)
        study = held.enter_context(open_study(storage_url, card, prepared.space, given=given))
        held.enter_context(opened(sinks, study.result))
        return StudyAgain(before, loop.run(study).study)


def _measured_again(before: StudyResult) -> list[TrialRecord]:
    """The references, which the others need, and the front."""
    wanted = [before.reference, before.openvino_f32, *before.front]
    return list({record.number: record for record in wanted if record is not None}.values())


def _proposal(record: TrialRecord) -> Proposal:
    origin = SEED if record.origin == SEED else AGAIN
    return Proposal(record.configuration, None, origin, record.label)


def _card(before: StudyCard, prepared: Prepared, storage_url: str) -> StudyCard:
    """The card of the new study: the first name of its kind that is free, this host, and what it measures again."""
    host, taken, name, count = prepared.host, study_names(storage_url), f"{before.name}-again", 1
    while name in taken:
        count += 1
        name = f"{before.name}-again-{count}"
    origin = {**before.origin, AGAIN: before.name}
    noise = calibration(prepared.request.home, host)
    return replace(before, name=name, id="", host=host, calibration=noise, origin=origin)


def _left_s(done: Sequence[TrialRecord], total: int) -> float:
    spent_s = sum(sum(record.seconds.values()) for record in done)
    return spent_s / max(1, len(done)) * max(0, total - len(done))


def _changed(then: TrialRecord, now: TrialRecord | None) -> Iterator[str]:
    if now is None or now.measurement is None:
        return
    before, after = then.measured.effective, now.measurement.effective
    for name in SETTLED:
        if before.get(name) != after.get(name):
            yield f"effective {name} was {before.get(name)}, now it is {after.get(name)}"


def _numbers(result: StudyResult, record: TrialRecord | None) -> dict[str, float]:
    return {} if record is None else result.headline(record)

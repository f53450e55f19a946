"""What a search runs next, and what is tried again before it is believed."""

from __future__ import annotations

import pytest

from autoopt.core.configuration import Configuration
from autoopt.core.records import Failure, Status, TrialRecord
from autoopt.errors import CHILD_ERRORS, TrialError
from autoopt.study.attempts import Attempts, reason_to_wait, to_retry
from autoopt.study.proposals import Proposal
from tests.worlds import measured, point


def proposal(name: str, origin: str = "sampler") -> Proposal:
    return Proposal(Configuration.of({"runtime": {"name": name}}), None, origin, name)


def order(proposals: list[Proposal], busy: dict[str, int], dead: dict[str, int] | None = None) -> list[str]:
    """The attempts in their order, when the first `busy[label]` tries of a proposal meet a busy host, or die."""
    attempts, tried = Attempts(proposals), []
    for attempt in attempts:
        label = attempt.proposal.label
        tried.append(f"{label}{attempt.tries}")
        later = attempt.next(TrialRecord(attempt.proposal.configuration, Status.COMPLETE))
        if attempt.tries <= busy.get(label, 0):
            attempts.put_off(later)
        elif attempt.tries <= (dead or {}).get(label, 0):
            attempts.put_off(later, to_the_end=True)
    return tried


def test_a_contended_trial_waits_for_another_one() -> None:
    """What met a busy host is tried again after the next trial, and after the last one whatever is left."""
    assert order([proposal("a"), proposal("b"), proposal("c")], {"a": 2}) == ["a1", "b1", "a2", "c1", "a3"]
    assert order([proposal("a"), proposal("b")], {"b": 2}) == ["a1", "b1", "b2", "b3"]


def test_a_contended_seed_is_tried_again_at_once() -> None:
    """Seeds do not wait: all others are compared with them."""
    assert order([proposal("a", "seed"), proposal("b")], {"a": 2, "b": 1}) == ["a1", "a2", "a3", "b1", "b2"]


def test_what_died_waits_for_all_others() -> None:
    """A death is looked at again at the very end, a seed's at once."""
    names = [proposal("a"), proposal("b"), proposal("c")]
    assert order(names, {"b": 1}, {"a": 1}) == ["a1", "b1", "c1", "b2", "a2"]
    assert order([proposal("a", "seed"), proposal("b")], {}, {"a": 1}) == ["a1", "a2", "b1"]


def failed(cause: str, origin: str = "sampler", *, by_signal: bool = False) -> TrialRecord:
    failure = Failure(cause, "measure", "it failed", by_signal=by_signal)
    return TrialRecord(point(), Status.FAILED, origin=origin, failure=failure)


CAUSES = sorted(kind.cause for kind in CHILD_ERRORS.values() if issubclass(kind, TrialError))


@pytest.mark.parametrize("cause", CAUSES)
def test_which_stored_failures_a_new_command_tries_again(cause: str) -> None:
    """Seeds unless they failed for certain, others only when their reference or target died, or all are wanted."""
    assert to_retry(failed(cause), all_failed=False) == (cause in ("reference", "target"))
    assert to_retry(failed(cause, "seed"), all_failed=False) == (cause not in ("unsupported", "numeric", "data"))
    assert to_retry(failed(cause), all_failed=True)


def test_what_is_believed_at_once() -> None:
    """A failure without a signal, a measurement on a quiet host; a busy host and deaths only after their tries."""
    quiet = TrialRecord(point(), Status.COMPLETE, measurement=measured(0.1))
    busy = TrialRecord(point(), Status.COMPLETE, measurement=measured(0.1, contended="others computed"))
    assert reason_to_wait(quiet, 1, 3) == reason_to_wait(failed("crash"), 1, 3) == ""
    assert [bool(reason_to_wait(busy, tries, 3)) for tries in (1, 2, 3)] == [True, True, False]
    assert [bool(reason_to_wait(failed("crash", by_signal=True), tries, 3)) for tries in (1, 2)] == [True, False]
    assert [bool(reason_to_wait(failed("reference"), tries, 3)) for tries in (1, 2, 3)] == [True, True, False]
    assert not to_retry(quiet, all_failed=True)

"""The order of attempts: what is tried again, and when."""

from __future__ import annotations

from collections import deque

from autoopt.loop import Attempt, _attempts
from autoopt.records import Configuration
from autoopt.study import Proposal


def proposal(name: str, origin: str = "sampler") -> Proposal:
    return Proposal(Configuration.of({"runtime": {"name": name}}), None, origin, name)


def run(proposals: list[Proposal], busy: dict[str, int]) -> list[str]:
    """The attempts in their order, when the first `busy[label]` tries of a proposal meet a busy host."""
    again: deque[Attempt] = deque()
    tried = []
    for item, tries in _attempts(iter(proposals), again):
        tried.append(f"{item.label}{tries}")
        if tries <= busy.get(item.label, 0):
            again.append((item, tries + 1))
    return tried


def test_a_contended_trial_waits_for_another_one() -> None:
    """What met a busy host is tried again after the next trial, and after the last one whatever is left."""
    assert run([proposal("a"), proposal("b"), proposal("c")], {"a": 2}) == ["a1", "b1", "a2", "c1", "a3"]
    assert run([proposal("a"), proposal("b")], {"b": 2}) == ["a1", "b1", "b2", "b3"]


def test_a_contended_seed_is_tried_again_at_once() -> None:
    """Seeds do not wait: all others are compared with them."""
    assert run([proposal("a", "seed"), proposal("b")], {"a": 2, "b": 1}) == ["a1", "a2", "a3", "b1", "b2"]

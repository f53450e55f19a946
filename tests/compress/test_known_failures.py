"""What failed for good is told at once: twice for one cause, or refused once."""

from __future__ import annotations

import pytest

from autoopt.compress.known_failures import KnownFailures
from autoopt.errors import Crash, OutOfMemory, Timeout, Unsupported


def test_two_failures_of_one_cause_are_enough() -> None:
    """One crash is let try again, a second one is not; another cause, another stage and another part do not count."""
    known_failures = KnownFailures()
    known_failures.note("a", Crash("died", stage="measure", log_tail="the end"))
    known_failures.note("a", OutOfMemory("no memory", stage="measure"))
    known_failures.note("a", Crash("died", stage="quantize"))
    known_failures.note("b", Timeout("too long", stage="measure"))
    known_failures.check("a")
    known_failures.note("a", Crash("died again", stage="measure"))
    with pytest.raises(Crash, match=r"^failed before: died") as caught:
        known_failures.check("a")
    assert (caught.value.stage, caught.value.log_tail) == ("measure", "the end")
    known_failures.check("b")
    known_failures.check("c")


def test_a_refusal_is_for_good() -> None:
    """What a library refuses once it would refuse again."""
    known_failures = KnownFailures()
    known_failures.note("a", Unsupported("no such layer", stage="quantize"))
    with pytest.raises(Unsupported, match="no such layer"):
        known_failures.check("a")

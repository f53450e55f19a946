"""What failed for good is told at once: twice for one cause, or refused once."""

from __future__ import annotations

import pytest

from autoopt.compress.known_failures import Quarantine
from autoopt.errors import Crash, OutOfMemory, Timeout, Unsupported


def test_two_failures_of_one_cause_are_enough() -> None:
    """One crash is let try again, a second one is not; another cause, another stage and another part do not count."""
    quarantine = Quarantine()
    quarantine.note("a", Crash("died", stage="measure", log_tail="the end"))
    quarantine.note("a", OutOfMemory("no memory", stage="measure"))
    quarantine.note("a", Crash("died", stage="quantize"))
    quarantine.note("b", Timeout("too long", stage="measure"))
    quarantine.check("a")
    quarantine.note("a", Crash("died again", stage="measure"))
    with pytest.raises(Crash, match=r"^failed before: died") as caught:
        quarantine.check("a")
    assert (caught.value.stage, caught.value.log_tail) == ("measure", "the end")
    quarantine.check("b")
    quarantine.check("c")


def test_a_refusal_is_for_good() -> None:
    """What a library refuses once it would refuse again."""
    quarantine = Quarantine()
    quarantine.note("a", Unsupported("no such layer", stage="quantize"))
    with pytest.raises(Unsupported, match="no such layer"):
        quarantine.check("a")

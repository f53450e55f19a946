"""What something would have taken on a host that is left alone."""

from __future__ import annotations

import pytest

from autoopt.measure.host_load import Load
from autoopt.measure.undisturbed import Timed, taken_from_now, taken_share, timed_of


@pytest.mark.parametrize(
    ("timed", "busy", "quiet_s"),
    [
        (Timed(1.0), False, 1.0),
        (Timed(1.0, 0.05, 1.9), False, 1.0),  # two threads on a quiet host
        (Timed(1.0, 0.5, 1.0), True, 0.5),  # half of the cores for others
        (Timed(1.0, 0.3, 0.2), True, 0.2),  # one thread that mostly waited
        (Timed(1.0, None, 0.1), True, 0.1),  # nobody says who computed: its own CPU time does
        (Timed(1.0, 1.0), True, 0.05),  # the share says little here
    ],
)
def test_a_busy_host_is_seen_and_taken_out(timed: Timed, busy: bool, quiet_s: float) -> None:
    """Times of a quiet host stay; others are cut to the share of the cores that was left, at most to the CPU time."""
    assert timed.busy is busy
    assert timed.quiet_s == pytest.approx(quiet_s)


def test_what_others_took_is_told_of_long_enough_only() -> None:
    """Shares of programs and of other guests add up; of a moment, or where the kernel is silent, nothing is said."""
    assert taken_share(Load(2.0, 0.3, 0.2, None)) == pytest.approx(0.5)
    assert taken_share(Load(2.0, 0.3, None, None)) == pytest.approx(0.3)
    assert taken_share(Load(0.1, 0.3, 0.2, None)) is None and taken_share(Load(2.0, None, 0.2, None)) is None
    assert taken_from_now()() is None, "too short"


def test_a_report_of_an_earlier_version_says_nothing_of_the_host() -> None:
    """A report with seconds alone is believed as it is; one with the share of others is not."""
    assert timed_of({"seconds": 4}) == Timed(4.0)
    assert timed_of({"seconds": 4.0, "taken": 0.5}).quiet_s == 2.0

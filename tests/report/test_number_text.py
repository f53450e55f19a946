"""Shares and times as text."""

from __future__ import annotations

from autoopt.report.number_text import milliseconds, ms, percent, signed_ms


def test_a_percentage_never_rounds_to_nothing_or_all() -> None:
    """Only what is nothing is 0 %, only what is all is 100 %."""
    shares = [percent(share) for share in (0.0, 0.001, 0.42, 0.999, 1.0)]
    assert shares == ["0 %", "under 1 %", "42 %", "over 99 %", "100 %"]


def test_times_have_three_digits() -> None:
    """Milliseconds have three digits, long times no fraction; differences have a sign."""
    assert [milliseconds(seconds) for seconds in (0.00123456, 0.0123456, 1.23456)] == ["1.23", "12.3", "1235"]
    assert ms(0.004) == "4 ms"
    assert [signed_ms(seconds) for seconds in (0.004, 0.0, -0.004)] == ["+4 ms", "+0 ms", "-4 ms"]

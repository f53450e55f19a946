"""Numbers as text: shares of time, milliseconds, counts."""

from __future__ import annotations


def percent(share: float) -> str:
    """A fraction in whole percent; one that only rounds to 0 % or 100 % is "under 1 %" or "over 99 %"."""
    if 0 < share < 0.005:
        return "under 1 %"
    return "over 99 %" if 0.995 <= share < 1 else f"{share * 100:.0f} %"


def milliseconds(seconds: float) -> str:
    """Seconds in milliseconds without the unit, with three digits: more do not repeat from run to run."""
    return f"{seconds * 1e3:.3g}" if seconds < 0.1 else f"{seconds * 1e3:.0f}"


def ms(seconds: float) -> str:
    """Such as: 4.16 ms."""
    return f"{milliseconds(seconds)} ms"


def signed_ms(seconds: float) -> str:
    """Such as: +4.16 ms."""
    return f"{'+' if seconds >= 0 else '-'}{ms(abs(seconds))}"


def counted(count: int, unit: str) -> str:
    """Such as: 1 trial; 2 trials."""
    return f"{count} {unit}{'' if count == 1 else 's'}"

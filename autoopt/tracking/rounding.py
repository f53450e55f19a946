"""Metrics as MLflow shows them: four digits. `record.json` has all of them."""

from __future__ import annotations

from collections.abc import Mapping

from autoopt.study.numbers import NUMBERS

DIGITS = 4
SMALL = 1e-3
"""Of a score below it four decimals say too little."""
NOISE = 1e-9
"""What is smaller is the rounding of a computer."""
_DROPS = ("drop", "drop_upper", "test_drop", "test_drop_upper")


def significant(value: float, digits: int = DIGITS) -> float:
    """The value with so many significant digits; a whole number as it is."""
    return float(value) if float(value).is_integer() else float(f"{value:.{digits}g}")


def score(value: float) -> float:
    """A metric of quality with four decimals, a tiny one with two digits: nothing but noise becomes zero."""
    if abs(value) < NOISE:
        return 0.0
    return round(float(value), DIGITS) if abs(value) >= SMALL else significant(value, 2)


def headline(numbers: Mapping[str, float]) -> dict[str, float]:
    """The numbers of a trial by key: metrics of quality and drops as scores, others with four significant digits."""
    return {key: (score if _is_score(key) else significant)(value) for key, value in numbers.items()}


def _is_score(key: str) -> bool:
    """Metrics have their own names, which no declared number has."""
    return key in _DROPS or key not in NUMBERS

"""Numbers with three digits that are surely a little above, or below, what they stand for."""

from __future__ import annotations

import math


def rounded_up(value: float) -> float:
    """`value` with three digits, always a little larger than it was, so that what is advised fits; 0 for 0 or less."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.ceil(value / unit * (1 + 1e-9)) * unit:.6g}")


def rounded_down(value: float) -> float:
    """`value` with three digits, always a little smaller than it was; 0 for 0 or less."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.floor(value / unit * (1 - 1e-9)) * unit:.6g}")

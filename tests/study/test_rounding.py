"""What is advised fits, and is hardly wider."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from autoopt.study import rounding


@given(st.floats(1e-9, 1e6))
def test_advised_limits_are_a_little_wider(value: float) -> None:
    """An advised limit has three digits, lets in what is needed, and is not one percent wider; 0 stays 0."""
    assert value < rounding.rounded_up(value) <= value * 1.0101
    assert value * 0.9899 <= rounding.rounded_down(value) < value
    for rounded in (rounding.rounded_up, rounding.rounded_down):
        assert len(f"{rounded(value):.12g}".replace(".", "").strip("0").partition("e")[0]) <= 4
        assert rounded(0.0) == rounded(-1.0) == 0

"""The roof over what a call costs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.inference.roofline import Cost, Peaks, floor_s, fraction_of_roofline

PEAKS = Peaks(100.0, 400.0, None, 800.0, 10.0, threads=1)
positive = st.floats(1e-3, 1e12)


def test_bound_by_arithmetic() -> None:
    """With few bytes the floor is the arithmetic, two operations each, at the peak of its precision."""
    assert floor_s(Cost(1000, 1), PEAKS, "f32") == 20.0
    assert fraction_of_roofline(Cost(1000, 1), 40.0, PEAKS, "f32") == 0.5
    assert fraction_of_roofline(Cost(1000, 1), 40.0, PEAKS, "bf16") == 0.125


def test_bound_by_bandwidth() -> None:
    """With many bytes the floor is the time that they take to move, whatever the precision."""
    assert fraction_of_roofline(Cost(1, 1000), 200.0, PEAKS, "f32") == 0.5
    assert fraction_of_roofline(Cost(1, 1000), 200.0, PEAKS, "bf16") == 0.5


def test_partly_quantized() -> None:
    """INT8 layers count at the peak of INT8, the others at that of their precision."""
    assert floor_s(Cost(1000, 1, int8_macs=600), PEAKS, "f32") == pytest.approx(2 * 600 / 800 + 2 * 400 / 100)


def test_a_peak_that_is_not_known() -> None:
    """Where the host's peak is not known there is no fraction, unless nothing needs that peak."""
    assert fraction_of_roofline(Cost(1000, 1), 40.0, PEAKS, "f16") is None
    assert fraction_of_roofline(Cost(1000, 1, 1), 40.0, replace(PEAKS, int8_ops_per_s=None), "f32") is None
    assert fraction_of_roofline(Cost(1000, 1, 1000), 40.0, PEAKS, "f16") is not None


@given(macs=st.integers(1, 10**15), moved=st.integers(1, 10**12), latency_s=positive, peak=positive, bandwidth=positive)
def test_the_roofline(macs: int, moved: int, latency_s: float, peak: float, bandwidth: float) -> None:
    """The fraction is the attained rate over the lesser of peak and bandwidth times intensity."""
    found = fraction_of_roofline(Cost(macs, moved), latency_s, Peaks(peak, None, None, None, bandwidth, 1), "f32")
    roof = min(peak, bandwidth * 2 * macs / moved)
    assert found == pytest.approx(2 * macs / latency_s / roof)

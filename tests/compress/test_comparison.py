"""How far outputs are from each other."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.compress.comparison import SMALLEST_SIZE, noise_to_signal, relative_error, signal_to_noise_db

WANTED = np.random.default_rng(0).normal(3.0, 2.0, size=(2, 5, 7)).astype(np.float32)
SIGNS = np.where(np.random.default_rng(1).random(WANTED.shape) < 0.5, -1.0, 1.0)


@given(share=st.floats(1e-6, 10.0))
def test_an_error_is_a_fraction_of_what_is_expected(share: float) -> None:
    """An error of a share of the root mean square is that share, as noise its square, in decibels its logarithm."""
    size = float(np.sqrt(np.mean(WANTED.astype(np.float64) ** 2)))
    got = WANTED + share * size * SIGNS
    assert relative_error(got, WANTED) == pytest.approx(share)
    assert noise_to_signal([got], [WANTED]) == pytest.approx(share**2)
    assert signal_to_noise_db([got], [WANTED]) == pytest.approx(-20 * math.log10(share), abs=1e-6)


def test_a_constant_may_count_as_no_signal() -> None:
    """Around the mean the signal is the variance, so a constant that is added to both changes nothing."""
    got = WANTED + 0.5 * SIGNS
    raised = noise_to_signal([got + 100], [WANTED + 100], around_mean=True)
    assert raised == pytest.approx(noise_to_signal([got], [WANTED], around_mean=True), rel=1e-3)
    assert noise_to_signal([got], [WANTED]) < noise_to_signal([got], [WANTED], around_mean=True)


def test_several_outputs_are_one_mean() -> None:
    """Two outputs of which one is right have half the noise."""
    got = WANTED + 0.5 * SIGNS
    assert noise_to_signal([got, WANTED], [WANTED, WANTED]) == pytest.approx(noise_to_signal([got], [WANTED]) / 2)


def test_the_ends() -> None:
    """Equal outputs have no ratio, an output of zeros has a least size, and what is not a number stays none."""
    assert signal_to_noise_db([WANTED], [WANTED]) is None
    zeros = np.zeros_like(WANTED)
    assert relative_error(zeros + np.float32(1e-3), zeros) == pytest.approx(1e-3 / SMALLEST_SIZE, rel=1e-6)
    assert math.isnan(relative_error(WANTED * np.nan, WANTED))

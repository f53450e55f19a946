"""The computation that a model is timed beside."""

from __future__ import annotations

import threading

import pytest

from autoopt.measure.probe import MOST_REPEATS, Probe, repeats_for


@pytest.mark.parametrize("threads", [1, 3])
def test_a_probe_leaves_no_thread(threads: int) -> None:
    """It can be called again and again, with as many threads as the model has, which end with it."""
    before = threading.active_count()
    probe = Probe(threads)
    for _ in range(3):
        probe()
    probe.close()

    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("model_s", "probe_s", "repeats"), [(0.1, 0.001, 100), (1e-6, 0.001, 1), (1e9, 1e-12, MOST_REPEATS), (0.0, 0.0, 1)]
)
def test_a_probe_takes_as_long_as_the_model(model_s: float, probe_s: float, repeats: int) -> None:
    """It is repeated to last about as long as a call of the model, once at least and not for ever."""
    assert repeats_for(model_s, probe_s) == repeats

"""The computation that a model is timed beside."""

from __future__ import annotations

import threading

import pytest

from autoopt.measure.probe import Probe


@pytest.mark.parametrize("threads", [1, 3])
def test_a_probe_leaves_no_thread(threads: int) -> None:
    """It can be called again and again, with as many threads as the model has, which end with it."""
    before = threading.active_count()
    probe = Probe(threads)
    for _ in range(3):
        probe()
    probe.close()

    assert threading.active_count() == before

"""Throughput: a process that answers many calls at once, beside the reference."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoopt.errors import TrialError
from autoopt.measure.measuring import Measuring
from autoopt.measure.reference_worker import ReferenceWorker
from autoopt.measure.taking import LocalTaking
from autoopt.measure.workers import Workers
from tests.measure.setups import QUICK, Setup

PLAN = replace(QUICK, concurrent_turn_s=0.2, concurrent_rounds=2)


def test_as_many_calls_run_at_once_as_there_are_threads(setup: Setup) -> None:
    """The fake runtime answers one call per thread in the time of one: two threads make twice the throughput, and the
    latency of a call is what it is without."""
    found = {}
    for threads in (1, 2):
        subject = setup.subject(name="fake", threads=threads, precision="f32", latency_ms=20.0)
        with Workers(subject.runtime, setup.target) as workers:
            measuring = Measuring(LocalTaking(subject, workers, plan=PLAN), throughput=True)
            measuring.first(predict=False)
            found[threads] = measuring.finish()
    assert [item.concurrent_requests for item in found.values()] == [1, 2]
    assert all(len(item.concurrent_s) == 1 and len(item.concurrent_s[0]) == 2 for item in found.values())
    one, two = (item.concurrent_per_s for item in found.values())
    assert one is not None and two is not None and one <= 50.0 and two <= 100.0
    assert two > 1.2 * one
    assert all(item.latency_p25_s >= 0.02 for item in found.values())


def test_it_takes_turns_with_the_reference(setup: Setup) -> None:
    """Beside a reference each turn has one of its own, so that a busy minute cancels; without being asked nothing of it
    is measured."""
    subject = setup.fake(10.0)
    with ReferenceWorker(setup.fake(20.0), setup.target, PLAN) as reference:
        for asked in (True, False):
            with Workers(subject.runtime, setup.target) as workers:
                measuring = Measuring(
                    LocalTaking(subject, workers, plan=PLAN, reference_worker=reference), throughput=asked
                )
                measuring.first(predict=False)
                measured = measuring.finish()
            if not asked:
                assert measured.concurrent is None and measured.concurrent_per_s is None
                continue
            assert len(measured.concurrent_s[0]) == len(measured.concurrent_reference_s[0]) == 2
            slower = replace(measured, reference_latency_s=2 * (measured.reference_latency_s or 0))
            assert slower.concurrent_per_s == pytest.approx((measured.concurrent_per_s or 0) / 2)


def test_a_runtime_that_dies_under_concurrency_fails_the_trial(setup: Setup) -> None:
    """What goes wrong while many calls run is an error of the trial, as it is of one call."""
    subject = setup.fake(1.0, failure="raise")
    with Workers(subject.runtime, setup.target) as workers:
        measuring = Measuring(LocalTaking(subject, workers, plan=PLAN), throughput=True)
        with pytest.raises(TrialError, match="told to raise"):
            measuring.finish()

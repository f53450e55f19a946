"""The process of the reference: it takes turns, is started again when it dies, and shows when the host is busy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.errors import Crash, ReferenceDied
from autoopt.measure.host_load import Load
from autoopt.measure.measuring import Measuring, measure
from autoopt.measure.reference_worker import ReferenceWorker
from autoopt.measure.taking import LocalTaking
from autoopt.measure.timing import Turn
from autoopt.measure.workers import Workers
from tests.measure.setups import QUICK, Setup
from tests.targets import RecordingTarget


def test_the_reference_takes_turns(setup: Setup) -> None:
    """Beside a reference both have as many turns in each process, and the ratio of latencies is the planted one."""
    with ReferenceWorker(setup.fake(2.0), setup.target, QUICK) as reference_worker:
        measurement, _ = measure(
            setup.fake(6.0), setup.target, plan=replace(QUICK, processes=2), reference_worker=reference_worker
        )
        name = reference_worker.name
    assert [len(process) for process in measurement.turns_s] == [len(process) for process in measurement.reference_s]
    assert measurement.reference_workers == (name, name)
    assert measurement.relative is not None
    assert measurement.relative.processes == 2
    assert measurement.relative.ratio == pytest.approx(3.0, rel=0.3)
    assert measurement.reference_latency_s == reference_worker.reference_latency_s
    assert measurement.latency_p25_s == pytest.approx(
        measurement.relative.ratio * (measurement.reference_latency_s or 0)
    )


def test_a_reference_that_dies_is_started_again(setup: Setup) -> None:
    """The death of the reference's process between two trials is nobody's failure: another one takes its place."""
    subject = setup.fake(1.0)
    with (
        ReferenceWorker(subject, setup.target, QUICK) as reference_worker,
        Workers(subject.runtime, setup.target) as workers,
    ):
        reference_worker.open()
        before = reference_worker.name
        reference_worker.kill()
        measuring = Measuring(LocalTaking(subject, workers, plan=QUICK, reference_worker=reference_worker))
        measuring.first(predict=False)
        assert measuring.finish().reference_workers == (reference_worker.name,)
        assert reference_worker.name != before


def test_a_reference_that_keeps_dying_is_not_the_trials_fault(setup: Setup) -> None:
    """Once it has worked, its death twice in a row is told as its own; the next trial gets another process."""
    with ReferenceWorker(setup.fake(1.0), setup.target, QUICK) as reference_worker:
        reference_worker.open()
        works = reference_worker.subject
        reference_worker.kill()
        reference_worker.subject = setup.fake(1.0, failure="segfault")
        with pytest.raises(ReferenceDied, match=r"the reference died beside this trial: .*SIGSEGV"):
            reference_worker.turn(QUICK)
        reference_worker.subject = works
        assert reference_worker.turn(QUICK).calls_s


def test_a_reference_that_never_worked_says_why(setup: Setup) -> None:
    """A configuration that cannot be the reference fails as what it is."""
    with ReferenceWorker(setup.fake(1.0, failure="segfault"), setup.target, QUICK) as worker, pytest.raises(Crash):
        worker.turn(QUICK)


def test_a_slowed_reference_shows_a_busy_host(setup: Setup) -> None:
    """A reference that takes a third longer than it usually does is a contended process; a usual one is not."""
    reference_worker = ReferenceWorker(setup.fake(1.0), setup.target, QUICK)
    usual, slow = Turn((0.01,) * 4, (), 0.04), Turn((0.0135,) * 4, (), 0.05)
    assert [reference_worker.remember([turn]) for turn in (usual, usual, usual)] == ["", "", ""]
    assert "1.35x slower than usual" in reference_worker.remember([slow])
    assert reference_worker.reference_latency_s == pytest.approx(0.01)


def test_a_program_beside_shows_a_busy_host(setup: Setup) -> None:
    """Others that take a core are noticed though the reference is as fast as ever; what they always take is not."""
    reference_worker, turn = ReferenceWorker(setup.fake(1.0), setup.target, QUICK), Turn((0.01,) * 4, (), 0.04)
    quiet = [reference_worker.remember([turn], foreign) for foreign in (0.02, 0.03, 0.02)]
    busy = [reference_worker.remember([turn], foreign) for foreign in (0.5, 0.02, 0.5)]
    assert quiet == ["", "", ""]
    assert busy == ["other programs took 50% of the cores, 2% is usual", "", busy[0]]
    stays = [ReferenceWorker(setup.fake(1.0), setup.target, QUICK)] * 4
    assert [bool(one.remember([turn], 0.5)) for one in stays] == [True, False, False, False]


@pytest.mark.parametrize(("seconds", "contended"), [(1.0, True), (0.1, False)])
def test_a_busy_host_reaches_the_measurement(tmp_path: Path, seconds: float, contended: bool) -> None:
    """What others took during a process is what its measurement is postponed by; over a moment it says nothing."""
    target = RecordingTarget(tmp_path / "target", load=Load(seconds, foreign_share=0.5, steal_share=None, throttles=2))
    setup = Setup.below(tmp_path, target)
    with ReferenceWorker(setup.fake(1.0), target, QUICK) as reference_worker:
        measured, _ = measure(setup.fake(1.0), target, plan=QUICK, reference_worker=reference_worker, predict=False)
    assert ("other programs took 50% of the cores" in measured.contended) is contended
    assert any("other programs took 50%" in doubt for doubt in measured.doubts)
    assert "the processor was slowed down because it was hot" in measured.doubts

"""The target: a measurement goes through it and nothing else, and who has to wait for it is told why."""

from __future__ import annotations

import ast
import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoopt.core.process import THREAD_VARIABLES
from autoopt.errors import BusyError, Crash
from autoopt.measure.files import case_ids
from autoopt.measure.head_to_head import measure_together
from autoopt.measure.measuring import measure, predictions
from autoopt.measure.profiling import ProfilePlan, profile
from autoopt.measure.reference_worker import ReferenceWorker
from autoopt.measure.target import MEASURING, LocalTarget
from tests.measure.setups import QUICK, Setup
from tests.targets import HOST, RecordingTarget

PACKAGE = Path(__file__).parents[2] / "autoopt"
HOLD = """
import sys, time
from pathlib import Path
from autoopt.measure.target import LocalTarget
with LocalTarget(locks=Path(sys.argv[1])).exclusive(wait_s=5):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def target(tmp_path: Path) -> RecordingTarget:
    return RecordingTarget(tmp_path / "target")


@pytest.fixture
def remote(tmp_path: Path, target: RecordingTarget) -> Setup:
    """The fake model, to be measured on a target that is another host."""
    return Setup.below(tmp_path, target)


@contextmanager
def held_by_another_process(folder: Path) -> Iterator[int]:
    """The measuring lock in `folder`, held by a process with this id until the end of the block."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder.pid
        holder.kill()


def test_a_measurement_goes_through_its_target(remote: Setup, target: RecordingTarget) -> None:
    """Processes, files, locks, load and energy are the target's, and so is the host that the numbers belong to."""
    with ReferenceWorker(remote.fake(1.0), target, QUICK) as reference_worker:
        measured, found = measure(remote.fake(2.0), target, plan=QUICK, reference_worker=reference_worker)
    assert measured.host == HOST.fingerprint
    assert measured.energy_j is not None and 0 < measured.energy_j <= 3.0
    assert len(found) == len(case_ids(remote.cases.path))
    turns = target.asked.count("joules")
    assert turns == 2 * len(measured.turns_s[0])
    rest = [item for item in target.asked if item != "joules"]
    assert rest == [
        *["worker worker 1"] * 2,
        f"lock {MEASURING}",
        *["put fake", "put cases"] * 2,
        "load of others than 2",
        "exchange",
        f"free {MEASURING}",
    ]
    first, last = target.asked.index(f"lock {MEASURING}"), target.asked.index(f"free {MEASURING}")
    assert all(first < index < last for index, item in enumerate(target.asked) if item == "joules")


def test_workers_read_what_was_put_on_the_target(remote: Setup, target: RecordingTarget) -> None:
    """A worker opens the target's copy of an artifact, not the one of the store: another model there answers."""
    expected = predictions(remote.fake(0.1), target)
    (target.folder / remote.artifact.key / "fake.json").write_text('{"classes": 3}')
    with pytest.raises(Exception, match="shape"):
        predictions(remote.fake(0.1), target)
    assert all(np.array_equal(one, other) for one, other in zip(expected, _here(remote), strict=True))


def _here(remote: Setup) -> list[np.ndarray]:
    return predictions(remote.fake(0.1), LocalTarget(locks=remote.store.root))


def test_comparisons_and_profiles_go_through_the_target(remote: Setup, target: RecordingTarget) -> None:
    """Trials side by side and profiles hold the target's lock and run in its processes."""
    subjects = [remote.fake(0.5), remote.fake(1.0)]
    measured = measure_together(subjects, target, plan=QUICK, reference_worker=None)
    assert {item.host for item in measured} == {HOST.fingerprint}
    target.asked.clear()
    profile(remote.fake(0.5), target, plan=ProfilePlan(rounds=1, round_s=0.01))
    assert target.asked == [
        f"lock {MEASURING}",
        "worker profiler 1",
        "put fake",
        "put cases",
        f"free {MEASURING}",
    ]


def test_a_worker_has_the_threads_that_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thread variables of the user's shell do not reach a worker; those of its runtime section do."""
    (tmp_path / "a_worker_module.py").write_text(
        "import os\nfrom autoopt.core.process import serve\n"
        "if __name__ == '__main__':\n    serve({'environment': lambda request: dict(os.environ)})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "17")
    with LocalTarget().worker("a_worker_module", threads=2) as worker:
        environment = worker.call("environment", stage="testing", timeout_s=60)
    threads = {name: value for name, value in environment.items() if "THREADS" in name}
    assert threads == dict.fromkeys(THREAD_VARIABLES, "2")


def test_the_local_target_hands_out_the_files_themselves(setup: Setup) -> None:
    """On this host nothing is copied; a file that is gone is named."""
    assert setup.target.put(setup.artifact) == str(setup.artifact.path)
    with setup.target.exchange() as exchange:
        exchange.write("a.npy", np.arange(3))
        assert np.array_equal(exchange.read("a.npy"), np.arange(3))
        assert Path(exchange.path, "a.npy").is_file()
    assert not Path(exchange.path).exists()
    (setup.artifact.path / "fake.json").unlink()
    with pytest.raises(Crash, match=r"fake\.json vanished"):
        setup.target.put(setup.artifact)


def test_load_and_energy_of_this_host(setup: Setup) -> None:
    """What happens from a moment on is told when it is asked for: seconds pass, a share is a share, joules are not less
    than none."""
    load, joules = setup.target.load_from_now([]), setup.target.joules_from_now()
    found, used = load(), joules()
    assert found.wall_s > 0
    assert found.foreign_share is None or 0 <= found.foreign_share <= 1
    assert used is None or used >= 0


def test_who_waits_is_told_that_the_host_is_busy_and_by_whom(tmp_path: Path) -> None:
    """The message names the process that measures, comes at once, and once only however often it is waited for."""
    told: list[str] = []
    target = LocalTarget(locks=tmp_path, on_wait=told.append)
    with held_by_another_process(tmp_path) as pid:
        for _ in range(2):
            with pytest.raises(BusyError, match=f"process {pid} holds"), target.exclusive(wait_s=0.2):
                pass
    assert told == [f"autoopt: this host is busy: waiting for process {pid}, which holds 'measure', at most 0.2 s"]
    with target.exclusive(wait_s=5):
        assert len(told) == 1


def test_who_does_not_wait_is_told_nothing(tmp_path: Path) -> None:
    """Where the lock is free, or nobody wants to wait for it, there is no message."""
    told: list[str] = []
    target = LocalTarget(locks=tmp_path, on_wait=told.append)
    with target.exclusive():
        with target.exclusive("another", wait_s=0):
            pass
        with pytest.raises(BusyError), target.exclusive(wait_s=0):
            pass
    assert told == []


WAITING = """
import sys
from pathlib import Path
from autoopt.measure.target import LocalTarget
target = LocalTarget(locks=Path(sys.argv[1]))
for _ in range(2):
    try:
        with target.exclusive(wait_s=0.3):
            pass
    except Exception as error:
        print(type(error).__name__)
"""


def test_the_message_goes_to_stderr(tmp_path: Path) -> None:
    """A command that waits says once where the user looks for whom it waits, and leaves its output alone."""
    with LocalTarget(locks=tmp_path).exclusive():
        done = subprocess.run(
            [sys.executable, "-c", WAITING, str(tmp_path)], capture_output=True, text=True, timeout=120, check=True
        )
    assert done.stdout == "BusyError\n" * 2
    said = f"autoopt: this host is busy: waiting for process {os.getpid()}, which holds 'measure', at most 0.3 s\n"
    assert done.stderr == said


ASKING = {
    "autoopt.measure.host.current_host": {"measure/target.py"},
    "autoopt.measure.lock.host_lock": {
        "measure/target.py",
        "measure/remote/keeper.py",  # for its home folder
        "study/only_writer.py",  # for the storage file
        "tracking/register.py",  # for a registry, which has no lock of its own
    },
    "autoopt.measure.energy": {"measure/target.py"},
    "autoopt.measure.host_load.snapshot": {"measure/peaks_process.py"},
    "autoopt.measure.host_load": {"measure/target.py", "measure/undisturbed.py"},  # the latter where artifacts are made
    "autoopt.measure.target.LocalTarget": {
        "api.py",  # whether a front was measured here, where it is registered
        "cli.py",  # what a listing, a matrix or a check of this host says
        "terminal/results.py",
        "doctor.py",
        "measure/remote/keeper.py",  # it is the target
        "commands/target.py",  # whose versions must be those of this host
        "fleet/agent.py",  # a member of a fleet says what it is
        "fleet/builder_child.py",  # a builder must have the libraries of this host
        "fleet/builder_work.py",  # which makes where it is
        "fleet/driving.py",  # the builder of a search, where the fleet has none
        "compress/training_study.py",  # it trains and measures where it is
        "nets/training_arms.py",  # whose energy a training reads
        "study/prepare.py",  # the target of a request that names none, and its builder
        "study/linked.py",  # whose versions those of two targets must be
        "tracking/own_sinks.py",  # whether a front was measured here, where it is registered
        "study/loop.py",  # the builder of a search
        "compress/matrix.py",
        "compress/maker.py",  # the target where none is given: the builder itself
        "nets/baseline.py",  # training happens here
        "deploy/check.py",  # a bundle is checked where it is to be used
        "deploy/remeasure.py",  # and measured again
        "deploy/pull_from.py",  # which models of a registry were measured here
        "deploy/predictor.py",  # and says what is other there than where it was measured
        "deploy/pull.py",  # the golden answers of a bundle are made where it is written
    },
}
"""Who may ask this machine, by what: all others are given a target or a host."""


@pytest.mark.parametrize("name", ASKING)
def test_nothing_else_asks_this_machine(name: str) -> None:
    """Only the files of the table import what reads, locks or describes this machine."""
    assert {path for path, imported in _imports() if imported == name} == ASKING[name]


@functools.cache
def _imports() -> frozenset[tuple[str, str]]:
    """Every file of the package with each name that it imports from another module."""
    return frozenset(
        (str(path.relative_to(PACKAGE)), f"{node.module}.{alias.name}")
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    )


def test_a_target_may_be_given_as_another_host(setup: Setup) -> None:
    """A local target is this host unless it is told otherwise."""
    other = replace(HOST, cpu="yet another")
    assert LocalTarget(other).host is other
    assert LocalTarget().host.cores >= 1

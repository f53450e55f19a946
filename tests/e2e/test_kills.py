"""kill -9 of a search, of a process that measures, and of both, at eight moments: the same command goes on."""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
import psutil
import pytest

from autoopt.core.configuration import RuntimeSettings
from autoopt.core.records import Status, TrialRecord
from autoopt.core.store import Store
from autoopt.errors import NoStudy, OutOfMemory
from autoopt.measure.pack import pack_cases
from autoopt.measure.reference_worker import ReferenceWorker
from autoopt.measure.subject import Subject
from autoopt.measure.target import LocalTarget
from autoopt.measure.timing import MeasuringPlan
from autoopt.measure.workers import WORKER, Workers
from autoopt.study.storage import read_study
from tests import tiny
from tests.e2e.helpers import project

BUDGET = 12
SPACE = """
description: the fake runtime, for tests
runtime:
  name: fake
  threads: 1
  latency_ms: [10, 11, 12, 13]
  error: [0.0, 0.004, 0.2]
"""
COMMAND = """
from autoopt import cli
from autoopt.measure.timing import MeasuringPlan

cli.main(MeasuringPlan(processes=1, most_processes=1, noise_processes=1, warmup_max_s=0.2, rounds=2, most_rounds=2))
"""
"""The command as a user gives it, but for how long it measures."""
MOMENTS = ("starting parent", "parent", *["worker"] * 4, *["both"] * 2)
"""What is killed; a search goes on when a worker is killed, and is started again when it is itself."""
STARTING_S, MEASURING_S = 4.0, 0.7
"""The longest time from the start, or from the first worker that is seen, to the kill."""
PATIENCE_S = 240.0

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are told apart by what Linux says of them")


class Search:
    """The one command, run until somebody kills it."""

    def __init__(self, folder: Path) -> None:
        self._log = folder / "log.txt"
        arguments = [*project(folder, SPACE, database=False), "--budget", str(BUDGET), "--max-drop", "1"]
        self._command = [sys.executable, "-c", COMMAND, "search", *arguments]
        # A temporary folder, and so a measuring lock, of its own: it waits for no other search on this host.
        temporary, root = folder / "tmp", Path(__file__).resolve().parents[2]
        temporary.mkdir()
        self._environment = {**os.environ, "PYTHONPATH": str(root), "TMPDIR": str(temporary)}
        self._process: subprocess.Popen[bytes] | None = None

    def go_on(self) -> int:
        """Start it unless it runs; its process id."""
        if self._process is None:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=self._environment)
        return self._process.pid

    def wait_for_worker(self) -> list[psutil.Process]:
        """Its processes that measure, at least one."""
        assert self._process is not None
        pid = self._process.pid
        wait_until(
            lambda: bool(children(pid, WORKER)),
            lambda: f"the search does not measure\n{self._log.read_text()}",
            self._process,
        )
        return children(pid, WORKER)

    def kill_worker(self, chance: random.Random) -> None:
        """kill -9 of any process that measures, be it the reference or one that waits for its turn."""
        while True:
            with contextlib.suppress(psutil.NoSuchProcess, IndexError):  # it ended just before
                chance.choice(self.wait_for_worker()).kill()
                return

    def kill(self) -> None:
        """kill -9; what it started is gone within seconds."""
        process, self._process = self._process, None
        assert process is not None
        process.kill()
        process.wait()
        wait_until(lambda: not children(process.pid), lambda: f"left alive: {children(process.pid)}")

    def finish(self) -> None:
        """Let it come to its end, without an error."""
        self.go_on()
        assert self._process is not None
        assert self._process.wait(timeout=240) == 0, self._log.read_text()
        assert "Traceback" not in self._log.read_text()


def children(pid: int, module: str = "autoopt.") -> list[psutil.Process]:
    """The processes of `module` that say that `pid` started them, also when it is dead and they have another parent."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            if words[-1:] == [str(pid)] and any(word.startswith(module) for word in words):
                found.append(process)
        except psutil.Error:  # it ended meanwhile; of one that waits to be collected nothing is left but its number
            continue
    return found


def wait_until(
    true: Callable[[], bool], otherwise: Callable[[], str], process: subprocess.Popen[bytes] | None = None
) -> None:
    """Look again and again; `otherwise` is what went wrong when it takes too long or `process` ends before."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, otherwise()
        assert process is None or process.poll() is None, otherwise()
        time.sleep(0.05)


def records(folder: Path) -> list[TrialRecord]:
    """What the study holds, nothing before there is one."""
    try:
        return list(read_study(f"sqlite:///{folder / 'mlruns' / 'study.db'}", None).records)
    except NoStudy:
        return []


def identities(found: list[TrialRecord]) -> list[tuple[int, str, str]]:
    """What never changes of a stored trial."""
    return [(record.number, record.configuration.digest, record.started_at) for record in found]


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    """The fake model, ready to be measured."""
    store = Store(tmp_path / "store")

    def build(folder: Path) -> dict[str, str]:
        (folder / "fake.json").write_text('{"classes": 2}')
        return {}

    runtime = RuntimeSettings({"name": "fake", "threads": 1, "precision": "f32", "latency_ms": 1})
    cases = pack_cases(tiny.workload(), "val", store)
    return Subject(store.put("fake", "0" * 64, {}, build), runtime, tiny.PIPELINE, cases)


def kill_and_wait(pid: int | None) -> None:
    """kill -9 of a process that its parent has not collected yet."""
    killed = psutil.Process(pid)
    killed.kill()
    wait_until(lambda: killed.status() == psutil.STATUS_ZOMBIE, lambda: f"left alive: {killed}")


def test_a_reference_that_is_killed_is_started_again(subject: Subject) -> None:
    """The reference opens although its process was killed while it loaded, and takes turns after another kill."""
    plan = MeasuringPlan(warmup_max_s=0.05)
    with ReferenceWorker(subject, LocalTarget(), plan) as reference_worker:
        reference_worker.begin()
        first, name = reference_worker.pid, reference_worker.name
        kill_and_wait(first)
        reference_worker.open()
        second = reference_worker.pid
        assert second != first and reference_worker.name != name
        kill_and_wait(second)
        assert reference_worker.turn(plan).calls_s
        assert reference_worker.pid != second


def test_a_worker_that_is_killed_between_two_answers_is_not_replaced(subject: Subject) -> None:
    """Another process would not have the model open: the next turn says that the first one was killed."""
    plan = MeasuringPlan(warmup_max_s=0.05)
    with Workers(subject.runtime, LocalTarget()) as workers:
        worker = workers.begin(subject, plan)
        assert worker.turn(plan).calls_s
        kill_and_wait(worker.pid)
        with pytest.raises(OutOfMemory, match="measure was killed"):
            worker.turn(plan)


@pytest.mark.timeout(900)  # five searches start: a busy host takes minutes
def test_kills_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """Eight kills later every point was tried once, what was stored stayed, and nothing runs or seems to."""
    chance, choices = random.Random(0), random.Random(0)
    search, known = Search(tmp_path), []
    for victim in chance.sample(MOMENTS, len(MOMENTS)):
        search.go_on()
        share = chance.random()
        if victim == "starting parent":
            time.sleep(share * STARTING_S)
        else:
            search.wait_for_worker()
            time.sleep(share * MEASURING_S)
        if victim in ("worker", "both"):
            search.kill_worker(choices)
        if victim != "worker":
            search.kill()
        now = identities(records(tmp_path))
        assert now[: len(known)] == known
        known = now
    search.finish()

    found = records(tmp_path)
    assert identities(found)[: len(known)] == known
    assert [record.number for record in found] == list(range(BUDGET))
    assert len({record.configuration.digest for record in found}) == BUDGET
    killed = [record.failure for record in found if record.status is Status.FAILED]
    assert all(failure is not None and "was killed" in failure.message for failure in killed), killed
    assert len(killed) <= sum(victim in ("worker", "both") for victim in MOMENTS)

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}")
    runs = client.search_runs([item.experiment_id for item in client.search_experiments()], max_results=1000)
    assert {run.info.status for run in runs} <= {"FINISHED", "FAILED"}
    trials = [run.data.tags["autoopt.trial"] for run in runs if "autoopt.trial" in run.data.tags]
    assert sorted(map(int, trials)) == list(range(BUDGET))
    assert len(runs) == BUDGET + 1

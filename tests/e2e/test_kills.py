"""kill -9 of a search, of a process that measures, and of both, at eight moments: the same command goes on."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import mlflow
import psutil
import pytest

from autoopt.core.configuration import RuntimeSettings
from autoopt.core.records import Status
from autoopt.core.store import Store
from autoopt.errors import OutOfMemory
from autoopt.measure.pack import pack_cases
from autoopt.measure.reference_worker import ReferenceWorker
from autoopt.measure.subject import Subject
from autoopt.measure.target import LocalTarget
from autoopt.measure.timing import MeasuringPlan
from autoopt.measure.workers import Workers
from benchmarks.torture.searching import Search, identities, records, wait_until
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
MOMENTS = ("starting parent", "parent", *["worker"] * 4, *["both"] * 2)
"""What is killed; a search goes on when a worker is killed, and is started again when it is itself."""
STARTING_S, MEASURING_S = 4.0, 0.7
"""The longest time from the start, or from the first worker that is seen, to the kill."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are told apart by what Linux says of them")


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
    search = Search(tmp_path, [*project(tmp_path, SPACE, database=False), "--budget", str(BUDGET), "--max-drop", "1"])
    home, known = tmp_path / "mlruns", []
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
        now = identities(records(home))
        assert now[: len(known)] == known
        known = now
    search.finish()

    found = records(home)
    assert identities(found)[: len(known)] == known
    assert [record.number for record in found] == list(range(BUDGET))
    assert len({record.configuration.digest for record in found}) == BUDGET
    killed = [record.failure for record in found if record.status is Status.FAILED]
    assert all(failure is not None and "was killed" in failure.message for failure in killed), killed
    assert len(killed) <= sum(victim in ("worker", "both") for victim in MOMENTS)

    client = mlflow.MlflowClient(f"sqlite:///{home / 'mlflow.db'}")
    runs = client.search_runs([item.experiment_id for item in client.search_experiments()], max_results=1000)
    assert {run.info.status for run in runs} <= {"FINISHED", "FAILED"}
    trials = [run.data.tags["autoopt.trial"] for run in runs if "autoopt.trial" in run.data.tags]
    assert sorted(map(int, trials)) == list(range(BUDGET))
    assert len(runs) == BUDGET + 1

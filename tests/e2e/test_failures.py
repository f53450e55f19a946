"""A study of two dozen trials of which nine fail, each in its own way: all are recorded, none is in the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
import pytest

from autoopt.core.configuration import Configuration
from autoopt.core.records import Status, TrialRecord
from autoopt.inference.formats import fake
from autoopt.study import loop
from autoopt.study.events import SearchResult
from autoopt.study.request import SearchRequest
from autoopt.study.trial.bench import Bench
from autoopt.study.trial.evaluate import evaluate
from autoopt.tracking import Tracker
from tests import tiny
from tests.e2e.quick import LEAST

BUDGET = 24
FRONT = {1.0: 0.2, 2.0: 0.1, 4.0: 0.0}
"""Milliseconds to the share of wrong pixels: each is twice as slow as the one before, and better."""
DOMINATED = {round(6 + index / 4, 2): 0.25 + index / 200 for index in range(BUDGET - 9 - len(FRONT))}
"""Half again as slow as the slowest member of the front, and worse than all of them."""
SPACE = """
description: the fake runtime, its errors and failures planted by latency
runtime: {{name: fake, threads: 1, latency_ms: {latencies}}}
"""

pytestmark = pytest.mark.timeout(900)  # two searches of forty trials in all: a busy host takes minutes


@dataclass(frozen=True)
class Plant:
    """One way to fail, and the cause, stage and words that the record must have."""

    latency_ms: float
    cause: str
    words: str
    failure: str | None = None
    stage: str = "measure"


HUNG = Plant(0.3, "timeout", "measure took longer than its limit of 2 s", "hang")
HUNGRY = Plant(0.35, "out-of-memory", "MB of memory, more than its limit of 1 MB", "hang")
VANISHED = Plant(0.6, "crash", "fake.json vanished after it was made")
PLANTS = (
    Plant(0.1, "crash", "died with signal SIGSEGV", "segfault"),
    Plant(0.2, "out-of-memory", "ran out of memory", "oom"),
    HUNG,
    HUNGRY,
    Plant(0.4, "numeric", "finite numbers", "nan"),
    Plant(0.5, "numeric", "must return shape (1, 2, 16, 16)", "shape"),
    VANISHED,
    Plant(0.7, "crash", "RuntimeError: the fake runtime was told to raise", "raise"),
    Plant(0.8, "unsupported", "told to refuse the model", "unsupported"),
)
"""Had one of them not failed it would be the whole front: all are faster than any other trial, and have no errors."""


@dataclass(frozen=True)
class Searched:
    """Two studies of one home folder: with the planted trials, and without."""

    home: Path
    planted: SearchResult
    clean: SearchResult


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    folder = tmp_path_factory.mktemp("failures")
    tiny.weights(folder / "tiny.safetensors")
    clean = sorted([*FRONT, *DOMINATED])
    latencies = [*clean]
    for index, plant in enumerate(PLANTS):
        latencies.insert(1 + index * 2, plant.latency_ms)
    # Ten pictures of the front would take as long as ten trials.
    mlflow_once = Tracker(f"sqlite:///{folder / 'home' / 'mlflow.db'}", folder / "home", front_every=BUDGET)
    return Searched(folder / "home", search(folder, latencies, [mlflow_once]), search(folder, clean, []))


def planted(configuration: Configuration, bench: Bench, **named: Any) -> TrialRecord:
    """A trial of the fake runtime with the errors and the failure that belong to its latency.

    Also what no setting of that runtime does: short limits, and a file that somebody deletes.
    """
    latency_ms = float(configuration.runtime["latency_ms"] or 0.0)
    failures = {plant.latency_ms: plant.failure for plant in PLANTS}
    error = {**FRONT, **DOMINATED}.get(latency_ms, 0.0)
    settings = {**configuration.runtime, "error": error, "failure": failures.get(latency_ms)}
    if latency_ms == HUNG.latency_ms:
        bench = replace(bench, measure_timeout_s=2.0)
    elif latency_ms == HUNGRY.latency_ms:  # a hang gives the parent time to see that it holds more
        bench = replace(bench, worker_memory_bytes=1_000_000)
    elif latency_ms == VANISHED.latency_ms:
        bench = replace(bench, on_stage=deleting(bench))
    record = evaluate(Configuration.of({**configuration.sections(), "runtime": settings}), bench, **named)
    return replace(record, configuration=configuration)


def deleting(bench: Bench) -> Callable[[str], None]:
    """Deletes the model, which all trials share, when it has been made and before it is looked at."""

    def on_stage(stage: str) -> None:
        if stage == "look":
            artifact = bench.maker.export("fake")
            (artifact.path / fake.FILE).unlink()

    return on_stage


def search(folder: Path, latencies_ms: list[float], sinks: list[Tracker]) -> SearchResult:
    """A search of the fake runtime over these latencies, every one of them tried, nothing measured again."""
    space = folder / f"space-{len(latencies_ms)}.yaml"
    space.write_text(SPACE.format(latencies=latencies_ms))
    request = SearchRequest(
        tiny.SOURCE,
        budget=BUDGET,
        space=str(space),
        weights=folder / "tiny.safetensors",
        home=folder / "home",
        max_drop=None,
    )
    return loop.search(request, sinks=sinks, evaluate=planted, plan=LEAST, rules=loop.Rules(recheck_share=0.0))


def by_latency(result: SearchResult) -> dict[float, TrialRecord]:
    return {float(r.configuration.runtime["latency_ms"] or 0): r for r in result.records}


def test_only_the_planted_trials_fail(searched: Searched) -> None:
    """The study ends with all trials: every planted one failed, every other one complete."""
    assert "every point" in searched.planted.stopped or "budget is spent" in searched.planted.stopped
    found = by_latency(searched.planted)
    assert len(searched.planted.records) == len(found) == BUDGET
    failed = {latency_ms for latency_ms, record in found.items() if record.status is Status.FAILED}
    assert failed == {plant.latency_ms for plant in PLANTS}
    assert {record.status for latency_ms, record in found.items() if latency_ms not in failed} == {Status.COMPLETE}


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: f"{plant.cause}-{plant.latency_ms}")
def test_each_failure_has_its_cause_in_the_record_and_in_mlflow(searched: Searched, plant: Plant) -> None:
    """Record and MLflow run of a failed trial name the same cause and stage, and what happened in words."""
    record = by_latency(searched.planted)[plant.latency_ms]
    failure = record.failure
    assert failure is not None
    assert (failure.cause, failure.stage) == (plant.cause, plant.stage)
    assert plant.words in failure.message
    assert (record.quality, record.measurement) == (None, None)

    client = mlflow.MlflowClient(f"sqlite:///{searched.home / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    study = searched.planted.study.card.name
    wanted = f"tags.`autoopt.study` = '{study}' and tags.`autoopt.trial` = '{record.number}'"
    (run,) = client.search_runs(experiments, wanted)
    tags = run.data.tags
    assert (run.info.status, tags["autoopt.status"]) == ("FAILED", "failed")
    assert (tags["autoopt.cause"], tags["autoopt.stage"]) == (plant.cause, plant.stage)
    assert plant.words in tags["autoopt.message"]


def test_a_vanished_file_is_made_again(searched: Searched) -> None:
    """The model that one trial lost is made once more, and the trials after it run it."""
    assert searched.planted.made["export"] == 2
    number = by_latency(searched.planted)[VANISHED.latency_ms].number
    assert any(r.status is Status.COMPLETE for r in searched.planted.records if r.number > number)


def test_the_front_is_that_of_the_study_without_the_failures(searched: Searched) -> None:
    """Failed trials neither are on the front nor keep others off it."""
    planted, clean = (
        [record.configuration for record in result.front] for result in (searched.planted, searched.clean)
    )
    found = by_latency(searched.planted)
    assert planted == clean == [found[latency_ms].configuration for latency_ms in sorted(FRONT)]

"""One trial, in an invented world: what is asked in which order, and what becomes of everything that goes wrong."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import numpy as np
import pytest

from autoopt.compress.known_failures import FAILED_BEFORE, KnownFailures
from autoopt.core.configuration import Configuration, RuntimeSettings, Scalar
from autoopt.core.measurement import Measurement
from autoopt.core.records import Failure, Status, TrialRecord
from autoopt.core.scores import Quality
from autoopt.core.store import Artifact
from autoopt.errors import Crash, OutOfMemory, ReferenceDied, StorageError, Timeout, TrialError, Unsupported
from autoopt.measure.timing import MeasuringPlan
from autoopt.measure.turns import Clear, never
from autoopt.study.trial.bench import Bench
from autoopt.study.trial.evaluate import StopRule, evaluate
from autoopt.study.trial.screening import Screening
from tests import tiny
from tests.worlds import measured, point, scored

REFERENCE = point(latency_ms=60)
PLAN = MeasuringPlan(processes=3, noise_processes=7)


@dataclass
class _Held:
    """A lock that notes in `holding` while it is held."""

    name: str
    holding: list[str]

    def __enter__(self) -> None:
        self.holding.append(self.name)

    def __exit__(self, *exc_info: object) -> None:
        self.holding.remove(self.name)


@dataclass
class World:
    """A bench whose maker, processes and scores are invented: `asked` lists what was asked, `raises` what fails."""

    raises: dict[str, Exception] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    stages: list[str] = field(default_factory=list)
    reference: Configuration = REFERENCE
    known_failures: KnownFailures = field(default_factory=KnownFailures)
    subjects: list[Any] = field(default_factory=list)
    clears: list[Clear] = field(default_factory=list)
    until: list[Any] = field(default_factory=list)
    processes: int = 0
    holding: list[str] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)

    def ask(self, what: str) -> None:
        self.asked.append(what)
        self.held[what] = " ".join(self.holding)
        if what in self.raises:
            raise self.raises[what]

    @property
    def bench(self) -> Bench:
        bench = SimpleNamespace(
            workload=tiny.workload(),
            maker=SimpleNamespace(export=self._export, step=self._step, known_failures=self.known_failures),
            reference=SimpleNamespace(worker=lambda: self.ask("reference"), configuration=self.reference),
            cases=artifact("cases"),
            plan=PLAN,
            on_stage=self.stages.append,
            workers=self._workers,
            measuring=self._measuring,
            score=self._score,
            kept=None,
            builder=_Held("builder", self.holding),
            seat=_Held("seat", self.holding),
        )
        bench.make = partial(Bench.make, cast(Bench, bench))
        bench.open_reference = partial(Bench.open_reference, cast(Bench, bench))
        return cast(Bench, bench)

    def _export(self, name: str, precision: str, pipeline: Any, net: Artifact | None) -> Artifact:
        assert net is None
        self.ask(f"export {name} {precision}")
        return artifact("exported")

    def _step(self, name: str, settings: Mapping[str, Scalar], source: Artifact, pipeline: Any) -> Artifact:
        self.ask(f"{name} {settings['scheme']} of {source.key}")
        return artifact("quantized")

    def _workers(self, settings: RuntimeSettings) -> Workers:
        return Workers(self, settings)

    def _measuring(self, subject: Any, workers: Workers, clear: Clear) -> World:
        assert workers.is_open
        self.subjects.append(subject)
        self.clears.append(clear)
        return self

    def first(self, cases: Sequence[int] = ()) -> list[np.ndarray]:
        self.ask(f"first {list(cases)}")
        return [np.full(1, index) for index in cases or range(3)]

    def others(self) -> list[np.ndarray]:
        self.ask("others")
        return [np.full(1, index) for index in range(3)]

    def finish(self, until: Callable[[Measurement], str] | int | None) -> Measurement:
        self.ask("finish")
        self.until.append(until)
        return measured(0.03, processes=until if isinstance(until, int) else 2)

    def _score(self, predictions: Sequence[np.ndarray], only: Sequence[int] | None = None) -> Quality:
        self.ask(f"score {[int(item[0]) for item in predictions]} {only}")
        quality = scored(0.8)
        return quality if only is None else replace(quality, cases=quality.cases[: len(only)])


@dataclass
class Workers:
    world: World
    settings: RuntimeSettings
    is_open: bool = False

    def __enter__(self) -> Self:
        self.world.ask(f"workers {self.settings.name}")
        self.is_open = True
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.world.asked.append("end of workers")
        self.is_open = False


def artifact(key: str) -> Artifact:
    return Artifact("model", key, Path(key), {}, {}, {})


def run(world: World, configuration: Configuration | None = None, **named: Any) -> TrialRecord:
    return evaluate(configuration or point(), world.bench, **named)


def test_a_trial_is_made_measured_and_scored() -> None:
    """Processes start first, the artifact is made, the reference opened; then a first look, scores, the measurement."""
    world = World()
    record = run(world, origin="seed", label="a label")
    assert world.asked == [
        "workers fake",
        "export fake f32",
        "reference",
        "first []",
        "score [0, 1, 2] None",
        "finish",
        "end of workers",
    ]
    assert world.stages == ["export", "reference", "look", "score", "measure"]
    assert (record.status, record.origin, record.label) == (Status.COMPLETE, "seed", "a label")
    assert record.configuration == point()
    assert record.artifacts == ("exported",)
    assert record.quality == scored(0.8) and record.measurement == measured(0.03, processes=2)
    assert record.failure is None and record.number == -1
    assert set(record.seconds) == {"make", "measure", "score"} and min(record.seconds.values()) >= 0
    assert record.started_at.startswith("20") and record.started_at.endswith("+00:00")


def test_what_is_measured_is_what_was_made() -> None:
    """The last artifact of the chain is opened, with the trial's settings, on the cases, through its pipeline."""
    world = World()
    runtime: dict[str, Scalar] = {"name": "fake", "precision": "f32", "threads": 2}
    record = run(world, Configuration.of({"quantize": {"scheme": "int8"}, "runtime": runtime}))
    (subject,) = world.subjects
    assert record.artifacts == ("exported", "quantized")
    assert "quantize int8 of exported" in world.asked
    assert (subject.artifact.key, subject.cases.key, subject.latency) == ("quantized", "cases", "call")
    assert dict(subject.runtime) == runtime
    assert subject.pipeline == tiny.PIPELINE


def test_without_a_rule_the_plan_says_how_long() -> None:
    """A trial outside a study is measured in the plan's processes, whatever its latency is near to."""
    world = World()
    run(world)
    assert world.until == [None] and world.clears == [never]


def test_a_rule_sees_the_scored_trial() -> None:
    """What decides whether another process is needed is asked with the measurement so far and the quality."""
    seen: list[TrialRecord] = []
    clear: Clear = lambda ratio: True  # noqa: E731

    def enough(record: TrialRecord) -> str:
        seen.append(record)
        return "enough"

    world = World()
    run(world, stop=StopRule(enough, clear))
    (until,) = world.until
    assert until(measured(0.05)) == "enough"
    assert seen[0].measurement == measured(0.05) and seen[0].quality == scored(0.8)
    assert world.clears == [clear]


def test_the_reference_beside_itself_is_measured_longer() -> None:
    """The trial of the reference tells how processes of one thing differ: no rule shortens it."""
    world = World()
    record = run(world, REFERENCE, stop=StopRule(lambda record: "enough", lambda ratio: True))
    assert world.until == [PLAN.noise_processes] and world.clears == [never]
    assert record.measurement is not None and record.measurement.processes == PLAN.noise_processes


def screening(value: float) -> Screening:
    """Two cases first, in a study whose reference has this quality and may lose 0.05."""
    return Screening((0, 2), scored(value), 0.05)


def test_screening_lets_a_good_trial_go_on() -> None:
    """Cases that come first are scored by themselves; where they are good, all are scored."""
    world = World()
    record = run(world, screening=screening(0.8))
    assert world.asked[3:7] == ["first [0, 2]", "score [0, 2] (0, 2)", "others", "score [0, 1, 2] None"]
    assert record.quality == scored(0.8)
    assert world.stages[2:] == ["look", "score", "look", "score", "measure"]


def test_screening_ends_a_bad_trial() -> None:
    """A trial that surely loses too much on the first cases keeps their estimate and predicts no others."""
    world = World()
    record = run(world, screening=screening(0.95))
    assert "others" not in world.asked and "score [0, 1, 2] None" not in world.asked
    assert record.quality is not None and record.quality.left_out == 1
    assert record.status is Status.COMPLETE and record.measurement is not None


@pytest.mark.parametrize(
    ("asked", "stage"),
    [("export fake f32", "export"), ("first []", "look"), ("score [0, 1, 2] None", "score"), ("finish", "measure")],
)
def test_what_fails_is_recorded_where_it_failed(asked: str, stage: str) -> None:
    """A failure has its cause, its stage, its words and the end of the log; nothing half-known is kept beside it."""
    world = World({asked: Crash("it died", log_tail="the log")})
    record = run(world)
    assert record.status is Status.FAILED
    assert record.failure == Failure("crash", stage, "it died", "the log")
    assert record.quality is None
    assert world.asked[-1] == "end of workers"
    assert record.artifacts == (() if stage == "export" else ("exported",))


def test_a_failure_may_name_its_own_stage() -> None:
    """The reference that dies while a trial is measured says so itself."""
    failure = run(World({"finish": Timeout("too long", stage="reference")})).failure
    assert failure is not None and (failure.cause, failure.stage) == ("timeout", "reference")


def test_our_own_errors_end_the_trial_not_the_study() -> None:
    """An error that nobody foresaw is a crash of this trial, with its type, its words and its traceback."""
    failure = run(World({"score [0, 1, 2] None": ValueError("what is this")})).failure
    assert failure is not None
    assert (failure.cause, failure.stage, failure.message) == ("crash", "score", "ValueError: what is this")
    assert "Traceback" in failure.log_tail and "in _score" in failure.log_tail


def test_what_concerns_all_trials_ends_the_search() -> None:
    """A full disk, and memory that the search itself lacks, is no trial's failure: it passes on, the processes end."""
    world = World({"export fake f32": StorageError("no room left")})
    with pytest.raises(StorageError):
        run(world)
    assert world.asked[-1] == "end of workers"
    with pytest.raises(StorageError, match="no memory is left"):
        run(World({"score [0, 1, 2] None": MemoryError()}))


@pytest.mark.parametrize(("asked", "tries"), [("first []", 1), ("finish", 1), ("score [0, 1, 2] None", 9)])
def test_what_was_refused_is_not_measured_again(asked: str, tries: int) -> None:
    """What a runtime refuses once is not opened again with any number of threads; a bad score blames no runtime."""
    world = World({asked: Unsupported("refused")})
    records = [run(world, point(threads=threads)) for threads in (1, 2)]
    again = records[1].failure
    assert again is not None
    if tries == 1:
        assert again.message == f"{FAILED_BEFORE}refused"
        assert world.asked.count(asked) == 1
    else:
        assert again.message == "refused"
    other = run(world, point(latency_ms=20)).failure
    assert other is not None and other.message == "refused", "another setting of the runtime is another thing"


def test_a_crash_is_tried_twice() -> None:
    """A process that died once may have died by chance; what died twice is not measured a third time."""
    world = World({"finish": Crash("it died")})
    messages = [failure.message for _ in range(3) if (failure := run(world).failure)]
    assert messages == ["it died", "it died", f"{FAILED_BEFORE}it died"]
    assert isinstance(world.raises["finish"], TrialError)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOSPC, errno.EDQUOT])
def test_what_the_machine_lacks_is_no_trial(number: int) -> None:
    """Too many open files and a full disk in this process concern all trials, and end the search in words."""
    world = World({"finish": OSError(number, os.strerror(number))})
    with pytest.raises(StorageError, match="run the command again"):
        run(world)
    assert world.asked[-1] == "end of workers"


def test_a_death_by_signal_is_told_from_other_crashes() -> None:
    """The record says whether a signal ended the process; only a third such death counts for good."""
    world = World({"finish": OutOfMemory("killed", by_signal=True)})
    failures = [failure for _ in range(4) if (failure := run(world).failure)]
    assert [failure.by_signal for failure in failures] == [True, True, True, False]
    assert [failure.message for failure in failures] == ["killed"] * 3 + [f"{FAILED_BEFORE}killed"]


def test_the_death_of_the_reference_blames_no_configuration() -> None:
    """However often the reference dies beside an artifact, that artifact is measured again."""
    world = World({"finish": ReferenceDied("the reference died beside this trial")})
    causes = [failure.cause for _ in range(4) if (failure := run(world).failure)]
    assert causes == ["reference"] * 4 and world.asked.count("finish") == 4


def test_it_is_made_and_measured_by_one_trial_at_a_time() -> None:
    """What makes artifacts is held while they are made, the target while it is measured, never both at once."""
    world = World()
    evaluate(point(latency_ms=10), world.bench)

    making = {what for what, held in world.held.items() if held == "builder"}
    measuring = {what for what, held in world.held.items() if held == "seat"}
    assert "export fake f32" in making and "reference" in making, world.held
    assert {"first []", "finish"} <= measuring, world.held

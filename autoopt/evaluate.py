"""READ ME FIRST: one trial, top to bottom. A configuration goes in, a TrialRecord comes out, whatever happens.

    network steps -> export -> graph steps -> surround
        -> first look (one process: latency, predictions) -> score -> measure until it is decided

Everything that makes files happens in the maker process, everything that is timed in fresh worker processes that take
turns with the resident reference; all turn their deaths into `TrialError`s. This page only says what comes after what.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import numpy as np

from autoopt.agreement import SourceModel
from autoopt.compress import NET_STEPS, graph_steps, net_step
from autoopt.errors import BadData, Crash, DataError, TrialError, UsageError
from autoopt.few import Few, few_of
from autoopt.infer import Pipeline
from autoopt.make import Maker
from autoopt.measure.launcher import Measuring, Verdict, Workers
from autoopt.measure.pack import pack_cases
from autoopt.measure.subject import Subject
from autoopt.measure.timing import Plan
from autoopt.measure.turns import Clear, never
from autoopt.process import Child
from autoopt.quality import score
from autoopt.records import DISAGREEMENT, Configuration, Failure, Host, Quality, Status, TrialRecord, canonical_json
from autoopt.request import Prepared
from autoopt.results import StudyResult
from autoopt.runtimes import runtime
from autoopt.space import configured, seeds
from autoopt.store import Artifact
from autoopt.workload import SplitName, Workload
from autoopt.yardstick import Yardstick


@dataclass(frozen=True)
class Bench:
    """What a trial needs besides its configuration: the same for all trials of a study.

    `cases` are the packed images of `split`, `yardstick` keeps the reference that every trial is measured beside.
    `so_far` is the study that decides how much of a trial is measured; without it all get the plan's processes.
    `source` is there where predictions are compared with those of the source model.
    `on_stage` is told the name of each stage as it begins.
    """

    workload: Workload
    maker: Maker
    host: Host
    cases: Artifact
    yardstick: Yardstick
    split: SplitName = "val"
    plan: Plan = field(default_factory=Plan)
    measure_timeout_s: float = 300.0
    so_far: StudyResult | None = None
    source: SourceModel | None = None
    on_stage: Callable[[str], None] = lambda stage: None

    def begin(self, configuration: Configuration) -> None:
        """Let the maker begin the export that `configuration` needs while the parent goes on."""
        settings = configuration.section("runtime") or {}
        if any(configuration.section(name) is not None for name in NET_STEPS):
            return
        self.maker.begin_export(runtime(str(settings["name"])).FORMAT, str(settings.get("precision", "f32")))

    def score(self, predictions: Sequence[np.ndarray], only: Sequence[int] | None = None) -> Quality:
        """The quality of the predictions of all cases, or `only` some: see `quality.score`."""
        source = None if self.source is None else self.source.predictions
        return score(self.workload, self.split, predictions, source, only)

    def few(self) -> Few:
        """The cases that are predicted first, where the study so far lets them tell that too much is lost."""
        reference = None if self.so_far is None else self.so_far.reference
        if self.so_far is None or reference is None or reference.quality is None:
            return Few()
        return few_of(
            self.workload.splits[self.split], reference.quality, self.so_far.card.limits.get("drop"), self.score
        )

    def until(self, record: TrialRecord) -> Verdict | int | None:
        """How long to measure a scored trial: see `Measuring.finish`."""
        if record.configuration == self.yardstick.configuration:  # against itself: it tells how processes differ
            return self.plan.noise_processes
        so_far = self.so_far
        return None if so_far is None else lambda measured: so_far.verdict(replace(record, measurement=measured))

    def clear(self, configuration: Configuration) -> Clear:
        """Which ratios to the reference are known well enough: see `StudyResult.clear`. Its own is never."""
        so_far = self.so_far
        return never if so_far is None or configuration == self.yardstick.configuration else so_far.clear


def evaluate(configuration: Configuration, bench: Bench, *, origin: str = "sampler", label: str = "") -> TrialRecord:
    """One configuration, made, measured and scored. Never raises for what goes wrong inside the trial.

    The record is complete or failed; whether it keeps the limits of the study is judged later,
    because limits may change. Raises UsageError (such as a full disk), which concerns all trials.
    """
    record = TrialRecord(
        configuration,
        Status.COMPLETE,
        origin=origin,
        label=label,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    stages = Stages(bench.on_stage)
    settings = configuration.section("runtime") or {}
    pipeline = configured(bench.workload.pipeline, configuration)
    try:
        with Workers(settings) as workers:  # a process that will measure loads its runtime while the artifact is made
            chain = make(configuration, bench.maker, pipeline, stages)
            record = replace(record, artifacts=tuple(artifact.key for artifact in chain))

            with stages("make", "reference"):  # of the first trial only
                resident = bench.yardstick.resident()
            subject = Subject(chain[-1], settings, pipeline, bench.cases, bench.workload.latency)
            bench.maker.quarantine.check(_part(record))
            measuring = Measuring(
                subject, workers,
                host=bench.host, plan=bench.plan, resident=resident, clear=bench.clear(configuration),
                timeout_s=bench.measure_timeout_s,
            )  # fmt: skip
            with stages("measure", "look"):
                few = bench.few()
                predictions = measuring.first(few=few.cases, go_on=few.go_on)
            with stages("score", "score"):
                record = replace(record, quality=few.quality or bench.score(predictions))
            with stages("measure", "measure"):
                record = replace(record, measurement=measuring.finish(bench.until(record)))
        return replace(record, seconds=stages.seconds)
    except UsageError:
        raise
    except TrialError as error:
        if stages.current in ("look", "measure"):
            bench.maker.quarantine.note(_part(record), error)
        failure = Failure(error.cause, error.stage or stages.current, error.message, error.log_tail)
    except Exception as error:  # a fault of ours or of the user's workload: this trial is lost, the study is not
        message = f"{type(error).__name__}: {error}"
        failure = Failure(Crash.cause, stages.current, message, traceback.format_exc())
    return replace(record, status=Status.FAILED, quality=None, failure=failure, seconds=stages.seconds)


def make(configuration: Configuration, maker: Maker, pipeline: Pipeline, stages: Stages) -> list[Artifact]:
    """The artifacts of a configuration, from the first change of the network to what is measured. Raises TrialError."""
    settings = configuration.section("runtime") or {}
    chain: list[Artifact] = []
    for name in NET_STEPS:
        for part in net_step(name).parts(configuration.section(name) or {}):
            with stages("make", name):
                chain.append(maker.net(name, part, chain[-1] if chain else None, pipeline))
    with stages("make", "export"):
        executes, precision = runtime(str(settings["name"])), str(settings.get("precision", "f32"))
        chain.append(maker.export(executes.FORMAT, precision, pipeline, chain[-1] if chain else None))
    for name in graph_steps():
        step_settings = configuration.section(name)
        if step_settings is not None:
            with stages("make", name):
                chain.append(maker.step(name, step_settings, chain[-1], pipeline))
    if pipeline.takes_pixels:
        with stages("make", "surround"):
            chain.append(maker.surround(chain[-1], pipeline))
    return chain


def _part(record: TrialRecord) -> str:
    """What is to blame when measuring fails: this artifact with these settings, whatever the number of threads."""
    settings = record.configuration.section("runtime") or {}
    return canonical_json(
        [record.artifacts[-1], {name: item for name, item in settings.items() if name not in ("threads", "streams")}]
    )


class Stages:
    """Where a trial is and where its time went: seconds by kind (make, measure, score)."""

    def __init__(self, on_stage: Callable[[str], None]) -> None:
        self._on_stage = on_stage
        self.current = ""
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, kind: str, name: str) -> Iterator[None]:
        """Time the block as part of `kind` and announce `name`."""
        self.current = name
        self._on_stage(name)
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[kind] = self.seconds.get(kind, 0.0) + time.perf_counter() - began


@contextmanager
def open_bench(
    prepared: Prepared,
    *,
    on_stage: Callable[[str], None] = lambda stage: None,
    child: Child | None = None,
    before: StudyResult | None = None,
) -> Iterator[Bench]:
    """The bench of a prepared request, with its maker process (`child`, if it was started), which ends with the block.

    `before` is the study so far, where there is one: its reference and its estimator are kept.

    The maker is still loading the model when the block begins: `bench.maker.check()` waits for it and raises
    WeightsError when the weights do not fit. Raises DataError when a case of val cannot be read.
    """
    with Maker(prepared.workload, prepared.weights, prepared.store, prepared.host, child=child) as maker:
        on_stage("load")
        maker.begin_check()
        try:
            cases = pack_cases(prepared.workload, "val", prepared.store)
        except BadData as error:  # every trial needs these cases: it is no trial's failure
            raise DataError(error.message) from error
        chosen = None if before is None else before.quantile
        plan = Plan(quantile=chosen or prepared.card.calibration.get("quantile", Plan.quantile))
        level_s = None if before is None else before.level_s
        with Yardstick(prepared.workload, maker, seeds(prepared.space), cases, plan, level_s=level_s) as yardstick:
            source = SourceModel(prepared.workload, maker, seeds(prepared.space), cases, prepared.store)
            yield Bench(
                prepared.workload, maker, prepared.host, cases, yardstick, plan=plan, on_stage=on_stage,
                source=source if DISAGREEMENT in prepared.card.limits else None,
            )  # fmt: skip

"""READ ME FIRST: one trial, top to bottom. A configuration goes in, a TrialRecord comes out, whatever happens.

    export -> steps -> measure -> score

Everything that makes files happens in the maker process, everything that is timed in a fresh worker
process; both turn their deaths into `TrialError`s. This page only says what comes after what.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from autoopt.compress import STEPS
from autoopt.errors import BadData, Crash, DataError, TrialError, UsageError
from autoopt.make import Maker
from autoopt.measure.launcher import Workers, measure
from autoopt.measure.pack import pack_cases
from autoopt.measure.timing import Plan
from autoopt.process import Child
from autoopt.quality import score
from autoopt.records import Configuration, Failure, Host, Status, TrialRecord
from autoopt.request import Prepared
from autoopt.runtimes import runtime
from autoopt.space import configured
from autoopt.store import Artifact
from autoopt.workload import SplitName, Workload


@dataclass(frozen=True)
class Bench:
    """What a trial needs besides its configuration: the same for all trials of a study.

    `cases` are the packed images of `split`; `on_stage` is told the name of each stage as it begins.
    """

    workload: Workload
    maker: Maker
    host: Host
    cases: Artifact
    split: SplitName = "val"
    plan: Plan = field(default_factory=Plan)
    measure_timeout_s: float = 600.0
    on_stage: Callable[[str], None] = lambda stage: None


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
            with stages("make", "export"):
                executes = runtime(str(settings["name"]))
                chain = [bench.maker.export(executes.FORMAT, str(settings.get("precision", "f32")), pipeline)]
            for name in STEPS:
                step_settings = configuration.section(name)
                if step_settings is not None:
                    with stages("make", name):
                        chain.append(bench.maker.step(name, step_settings, chain[-1], pipeline))
            record = replace(record, artifacts=tuple(artifact.key for artifact in chain))

            with stages("measure", "measure"):
                measurement, predictions = measure(
                    chain[-1], settings, pipeline, bench.cases, host=bench.host, plan=bench.plan,
                    timeout_s=bench.measure_timeout_s, latency=bench.workload.latency, workers=workers,
                )  # fmt: skip
            record = replace(record, measurement=measurement)

        with stages("score", "score"):
            quality = score(bench.workload, bench.split, predictions)
        return replace(record, quality=quality, seconds=stages.seconds)
    except UsageError:
        raise
    except TrialError as error:
        failure = Failure(error.cause, error.stage or stages.current, error.message, error.log_tail)
    except Exception as error:  # a fault of ours or of the user's workload: this trial is lost, the study is not
        message = f"{type(error).__name__}: {error}"
        failure = Failure(Crash.cause, stages.current, message, traceback.format_exc())
    return replace(record, status=Status.FAILED, failure=failure, seconds=stages.seconds)


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
    prepared: Prepared, *, on_stage: Callable[[str], None] = lambda stage: None, child: Child | None = None
) -> Iterator[Bench]:
    """The bench of a prepared request, with its maker process (`child`, if it was started), which ends with the block.

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
        yield Bench(prepared.workload, maker, prepared.host, cases, on_stage=on_stage)

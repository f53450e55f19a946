"""READ ME FIRST: one trial, top to bottom. A configuration goes in, a TrialRecord comes out, whatever happens.

    network steps -> export -> graph steps -> fuse (parts of the pipeline into the graph)
        -> first look (one process: latency, predictions) -> score -> measure until it is decided

Everything that makes files happens in the maker process, everything that is timed in fresh worker processes that take
turns with the reference; all turn their deaths into `TrialError`s. This page only says what comes after what.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from autoopt.compress.chain import Stages
from autoopt.core.configuration import Configuration, canonical_json
from autoopt.core.host_problem import own_problem
from autoopt.core.records import Failure, Status, TrialRecord
from autoopt.core.scores import Quality
from autoopt.errors import Crash, ReferenceDied, StorageError, TargetLost, TrialError, UsageError
from autoopt.measure.measuring import Measuring, Verdict
from autoopt.measure.subject import Subject
from autoopt.measure.turns import Clear, never
from autoopt.study.space import configured
from autoopt.study.trial.bench import Bench
from autoopt.study.trial.screening import NONE, Screening


@dataclass(frozen=True)
class StopRule:
    """When enough of a trial was measured, by what its study knows as the trial begins.

    `enough` gives the reason to measure no further process of a scored trial, "" while there is none. `clear` says
    of a ratio of latencies (trial over reference) that knowing it better would change nothing.
    """

    enough: Callable[[TrialRecord], str]
    clear: Clear = never


def evaluate(
    configuration: Configuration,
    bench: Bench,
    *,
    stop: StopRule | None = None,
    screening: Screening = NONE,
    origin: str = "sampler",
    label: str = "",
) -> TrialRecord:
    """One configuration, made, measured and scored. Never raises for what goes wrong inside the trial.

    Without a `stop` rule the trial gets the processes that the bench's plan says. The record is complete or failed;
    whether it keeps the limits of its study is judged later, because limits may change. Raises UsageError (such as a
    full disk), which concerns all trials.
    """
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    record = TrialRecord(configuration, Status.COMPLETE, origin=origin, label=label, started_at=started_at)
    stages = Stages(bench.on_stage)
    settings = configuration.runtime
    pipeline = configured(bench.workload.pipeline, configuration)
    try:
        # A process that will measure imports its runtime while the artifact is made.
        with bench.workers(settings) as workers:
            chain = bench.make(configuration, pipeline, stages)
            record = replace(record, artifacts=tuple(artifact.key for artifact in chain))

            with stages("make", "reference"):  # of the first trial only
                bench.reference.worker()
            itself = configuration == bench.reference.configuration
            subject = Subject(chain[-1], settings, pipeline, bench.cases, bench.workload.latency)
            bench.maker.known_failures.check(_part(record))
            measuring = bench.measuring(subject, workers, never if stop is None or itself else stop.clear)
            record = replace(record, quality=_quality(measuring, bench, screening, stages))
            with stages("measure", "measure"):
                # The reference beside itself tells how processes of one thing differ.
                until = bench.plan.noise_processes if itself else _until(record, stop)
                record = replace(record, measurement=measuring.finish(until))
        return replace(record, seconds=stages.seconds)
    except UsageError:
        raise
    except TrialError as error:
        if stages.current in ("look", "measure") and not isinstance(error, (ReferenceDied, TargetLost)):
            bench.maker.known_failures.note(_part(record), error)
        failure = Failure(
            error.cause, error.stage or stages.current, error.message, error.log_tail, by_signal=error.by_signal
        )
    except Exception as error:  # a fault of ours or of the user's workload: this trial is lost, the study is not
        problem = own_problem(error)
        if problem is not None:
            raise StorageError(problem) from error
        message = f"{type(error).__name__}: {error}"
        failure = Failure(Crash.cause, stages.current, message, traceback.format_exc())
    return replace(record, status=Status.FAILED, quality=None, failure=failure, seconds=stages.seconds)


def _quality(measuring: Measuring, bench: Bench, screening: Screening, stages: Stages) -> Quality:
    """Measure the first process, and score what it predicts: all cases, unless the screening cases end the trial."""
    with stages("measure", "look"):
        predictions = measuring.first(screening.cases)
    if screening.cases:
        with stages("score", "score"):
            failed = screening.failed(bench.score(predictions, screening.cases))
        if failed is not None:
            return failed
        with stages("measure", "look"):
            predictions = measuring.others()
    with stages("score", "score"):
        return bench.score(predictions)


def _until(record: TrialRecord, stop: StopRule | None) -> Verdict | None:
    return None if stop is None else lambda measured: stop.enough(replace(record, measurement=measured))


def _part(record: TrialRecord) -> str:
    """What is to blame when measuring fails: this artifact with these settings, whatever the number of threads."""
    settings = record.configuration.runtime
    return canonical_json(
        [record.artifacts[-1], {name: item for name, item in settings.items() if name not in ("threads", "streams")}]
    )

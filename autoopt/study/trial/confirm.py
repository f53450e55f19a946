"""After the search: the contested members of the front head to head, and the front once on test.

Both only add to what is known of a trial; neither changes what the search saw when it chose.
"""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.compress.chain import Stages
from autoopt.core.measurement import Measurement
from autoopt.core.records import TrialRecord
from autoopt.core.scores import Quality
from autoopt.core.store import Artifact
from autoopt.measure.quality import score
from autoopt.measure.subject import Subject
from autoopt.study.space import configured
from autoopt.study.trial.bench import Bench

AT_ONCE = 3
"""Trials that take turns with each other: each keeps its model in memory."""


def head_to_head(records: Sequence[TrialRecord], bench: Bench, stages: Stages) -> list[Measurement]:
    """One more process of each of `records`, all beside each other and the reference. Raises TrialError."""
    subjects = [_subject(record, bench, stages, bench.cases) for record in records]
    with stages("measure", "recheck"):
        return bench.station.together(subjects, plan=bench.plan.thorough(), reference=bench.reference.worker())


def on_test(record: TrialRecord, bench: Bench, stages: Stages, cases: Artifact) -> Quality:
    """The quality on test of what the trial measured; `cases` are the packed ones of test. Raises TrialError."""
    subject = _subject(record, bench, stages, cases)
    with stages("score", "confirm"):
        answers = bench.station.predictions(subject, timeout_s=bench.measure_timeout_s)
        return score(bench.workload, "test", answers, packed=cases)


def _subject(record: TrialRecord, bench: Bench, stages: Stages, cases: Artifact) -> Subject:
    configuration = record.configuration
    pipeline = configured(bench.workload.pipeline, configuration)
    artifact = bench.make(configuration, pipeline, stages)[-1]
    return Subject(artifact, configuration.runtime, pipeline, cases, bench.workload.latency)

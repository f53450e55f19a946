"""The bench: what every trial of a study needs besides its configuration, opened once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autoopt.compress.chain import Stages, make, net_parts
from autoopt.compress.export import form_of
from autoopt.compress.maker import Maker
from autoopt.core.configuration import Configuration, RuntimeSettings
from autoopt.core.process import USUAL_TIMEOUT_S, Requests
from autoopt.core.records import TrialRecord
from autoopt.core.scores import DISAGREEMENT, Quality
from autoopt.core.store import Artifact
from autoopt.errors import BadData, DataError
from autoopt.inference.pipeline import Pipeline
from autoopt.measure.measuring import Measuring
from autoopt.measure.pack import pack_cases
from autoopt.measure.quality import score
from autoopt.measure.station import Station
from autoopt.measure.subject import Subject
from autoopt.measure.target import STAGE
from autoopt.measure.timing import MeasuringPlan
from autoopt.measure.turns import Clear
from autoopt.study.limits import asks_for_throughput
from autoopt.study.prepare import Prepared
from autoopt.study.space import seeds
from autoopt.study.trial.kept import Kept
from autoopt.study.trial.reference import ReferenceProcess
from autoopt.study.trial.source_model import SourceModel
from autoopt.workloads.contract import SplitName, Workload

FIRST_TIMEOUT_S = 3600.0
"""How long an answer of a worker may take while nothing is known of the reference: a volume may take many minutes."""
TIMES_THE_REFERENCE = 20.0
"""So many times what a case took on average in the trial of the reference an answer may take later."""


def answer_timeout_s(reference: TrialRecord | None) -> float:
    """How long each answer of a worker may take in a study with this `reference`, None while it has none."""
    if reference is None or reference.quality is None or not reference.quality.cases:
        return FIRST_TIMEOUT_S
    case_s = reference.seconds.get("measure", 0.0) / len(reference.quality.cases)
    return max(USUAL_TIMEOUT_S, TIMES_THE_REFERENCE * case_s)


@dataclass(frozen=True)
class Bench:
    """What a trial needs besides its configuration: the same for all trials of a study.

    `station` measures; `cases` are the packed cases of `split`; `reference` is the process beside which every trial is
    measured. `plan` says how long to measure; each answer of a worker process may take `measure_timeout_s`, and it may
    hold `worker_memory_bytes` (None: a share of the target's memory). `source` is there where predictions are compared
    with those of the source model; with `throughput` every trial also answers many calls at once. What is `kept` is
    measured as it is stored. `on_stage` is told the name of each stage as it begins.
    """

    workload: Workload
    maker: Maker
    station: Station[Any, Any]
    cases: Artifact
    reference: ReferenceProcess
    split: SplitName = "val"
    plan: MeasuringPlan = field(default_factory=MeasuringPlan)
    measure_timeout_s: float = FIRST_TIMEOUT_S
    worker_memory_bytes: int | None = None
    source: SourceModel | None = None
    throughput: bool = False
    kept: Kept | None = None
    on_stage: Callable[[str], None] = lambda stage: None
    builder: AbstractContextManager[Any] = field(default_factory=threading.RLock)
    """Held by whoever makes something: one trial at a time."""
    seat: AbstractContextManager[Any] = field(default_factory=threading.RLock)
    """Held by whoever measures on the station: one trial at a time."""

    def begin(self, configuration: Configuration) -> None:
        """Let the maker begin the export that `configuration` needs while the parent goes on."""
        if not any(net_parts(configuration)):
            self.maker.begin_export(*form_of(configuration.runtime))

    def make(self, configuration: Configuration, pipeline: Pipeline, stages: Stages) -> list[Artifact]:
        """The artifacts of a configuration, the measured one last: kept ones, else made. Raises TrialError."""
        stored = [] if self.kept is None else self.kept.chain(configuration)
        if stored:
            return stored
        with self.builder:
            return make(configuration, self.maker, pipeline, stages)

    def open_reference(self) -> None:
        """Make and open the reference, where that was not done: the first trial waits for it."""
        with self.builder:
            self.reference.worker()

    def workers(self, settings: RuntimeSettings) -> AbstractContextManager[Any]:
        """Fresh processes of the station that run an artifact with these settings."""
        return self.station.workers(settings)

    def measuring(self, subject: Subject, workers: Any, clear: Clear) -> Measuring:
        """The measurement of a trial in these processes, beside the reference. `clear`: see `LocalTaking`."""
        taking = self.station.taking(
            subject,
            workers,
            plan=self.plan,
            reference=self.reference.worker(),
            clear=clear,
            timeout_s=self.measure_timeout_s,
            memory_bytes=self.worker_memory_bytes,
        )
        return Measuring(taking, throughput=self.throughput)

    def score(self, predictions: Sequence[np.ndarray], only: Sequence[int] | None = None) -> Quality:
        """The quality of the predictions of all cases, or of those with the indices `only`: see `quality.score`."""
        source = None if self.source is None else self.source.predictions
        return score(self.workload, self.split, predictions, source, only, packed=self.cases)


@contextmanager
def open_bench(
    prepared: Prepared,
    *,
    on_stage: Callable[[str], None] = lambda stage: None,
    child: Requests | None = None,
    plan: MeasuringPlan | None = None,
    reference_latency_s: float | None = None,
    kept: Kept | None = None,
) -> Iterator[Bench]:
    """The bench of a prepared request; its processes end with the block.

    `child` is its maker process, if that was started; `plan` says how long to measure; `reference_latency_s` is what a
    call of the reference takes on the target, where the study already knows; `kept` is what is not made, see `Bench`.

    The maker is still loading the model when the block begins: `bench.maker.check()` waits for it and raises
    WeightsError when the weights do not fit. Raises DataError when a case of val cannot be read.
    """
    plan, workload, station = plan or MeasuringPlan(), prepared.workload, prepared.station
    limits_s = prepared.request.stage_timeouts
    measure_s = limits_s.get(STAGE, FIRST_TIMEOUT_S)
    builds = (workload, prepared.weights, prepared.store, prepared.builder)
    with Maker(*builds, target=prepared.target, child=child, timeout_s=limits_s) as maker:
        on_stage("load")
        maker.begin_check()
        try:
            cases = pack_cases(workload, "val", prepared.store)
        except BadData as error:  # every trial needs these cases: it is no trial's failure
            raise DataError(error.message) from error
        known = seeds(prepared.space) if kept is None else tuple(kept.seeds)
        with ReferenceProcess(
            workload,
            maker,
            station,
            known,
            cases,
            plan,
            reference_latency_s=reference_latency_s,
            timeout_s=measure_s,
            kept=kept,
        ) as reference:
            source = SourceModel(workload, maker, station, known, cases, prepared.store)
            yield Bench(
                workload,
                maker,
                station,
                cases,
                reference,
                plan=plan,
                on_stage=on_stage,
                measure_timeout_s=measure_s,
                source=source if DISAGREEMENT in prepared.card.limits else None,
                throughput=asks_for_throughput(prepared.card),
                kept=kept,
            )

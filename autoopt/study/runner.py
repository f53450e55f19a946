"""Running the trials of a search: the loop says which, a runner says what came out of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import cached_property, partial
from typing import Protocol, Self

from autoopt.compress.chain import Stages
from autoopt.compress.maker import warm_child
from autoopt.core.configuration import Configuration
from autoopt.core.host import Host
from autoopt.core.measurement import Measurement
from autoopt.core.process import Requests
from autoopt.core.records import TrialRecord
from autoopt.core.scores import Quality
from autoopt.core.store import Artifact
from autoopt.measure.pack import pack_cases
from autoopt.measure.target import STAGE
from autoopt.measure.timing import MeasuringPlan
from autoopt.study import effort
from autoopt.study.garbage import clean
from autoopt.study.limits import drop_limit
from autoopt.study.prepare import Prepared
from autoopt.study.proposals import Proposal
from autoopt.study.result import StudyResult
from autoopt.study.space import Space, seeds
from autoopt.study.stopping import clear, enough
from autoopt.study.trial import space_check
from autoopt.study.trial.bench import Bench, answer_timeout_s, open_bench
from autoopt.study.trial.confirm import head_to_head, on_test
from autoopt.study.trial.evaluate import StopRule, evaluate
from autoopt.study.trial.kept import Kept
from autoopt.study.trial.screening import Screening, screening_of

OnStage = Callable[[str], None]


class Evaluate(Protocol):
    """The signature of `evaluate.evaluate`."""

    def __call__(
        self,
        configuration: Configuration,
        bench: Bench,
        *,
        stop: StopRule | None = None,
        screening: Screening = ...,
        origin: str = ...,
        label: str = ...,
    ) -> TrialRecord:
        """One configuration, made, measured and scored."""
        ...


class Runner(Protocol):
    """Runs the trials of one study, for the length of a `with` block.

    `made` and `reused` count artifacts by stage, `later_s` is the wall time by kind (make, measure, score) of `compare`
    and `confirm`; `in_flight` is how many trials it runs at once, each in a thread of its own.
    """

    @property
    def in_flight(self) -> int:
        """Trials at once; asked for after `open`."""
        ...

    def __enter__(self) -> Self:
        """Begin what takes long and needs no request."""
        ...

    def __exit__(self, *exc_info: object) -> None:
        """End all processes."""
        ...

    def open(self, prepared: Prepared, before: StudyResult, on_stage: OnStage) -> None:
        """Get ready for the trials of a study that stands at `before`; `on_stage` is told each stage as it begins.

        Raises UsageError when no trial could run.
        """
        ...

    def check(self) -> Space:
        """Wait until the model is loaded; the space without what it refuses, with the training steps that fit the time.

        Raises WeightsError or WorkloadError when it does not fit its weights, SpaceError for a space of the user's own
        that it refuses.
        """
        ...

    def run(self, proposal: Proposal, study: StudyResult) -> TrialRecord:
        """Evaluate a proposal in a study that stands at `study`."""
        ...

    def compare(self, records: Sequence[TrialRecord]) -> list[Measurement]:
        """Measure trials again, side by side: one more process of each, in their order. Raises TrialError."""
        ...

    def confirm(self, record: TrialRecord) -> Quality:
        """The quality on test of what a trial measured. Raises TrialError."""
        ...

    @property
    def made(self) -> Mapping[str, int]:
        """Artifacts that were made, by stage."""
        ...

    @property
    def reused(self) -> Mapping[str, int]:
        """Artifacts that were found in the store, by stage."""
        ...

    @property
    def later_s(self) -> Mapping[str, float]:
        """Seconds by kind that `compare` and `confirm` took."""
        ...


class LocalRunner:
    """Runs trials: artifacts are made in a process of this host, and measured on the target of the prepared request.

    `maker` is what makes them instead, such as a builder elsewhere. `builder` is what this host is; `evaluate` is the
    trial, one page; `plan` says how long each trial is measured, None for the usual. What the network needs besides
    torch may be given as `imports`: they take seconds. What is `kept` is measured as it is stored. See `Runner`.
    """

    def __init__(
        self,
        builder: Host,
        evaluate: Evaluate = evaluate,
        plan: MeasuringPlan | None = None,
        imports: Sequence[str] = (),
        kept: Kept | None = None,
        maker: AbstractContextManager[Requests] | None = None,
    ) -> None:
        self._builder = builder
        self._maker = maker
        self._kept = kept
        self._imports = tuple(imports)
        self._evaluate = evaluate
        self._plan = plan or MeasuringPlan()
        self._held = ExitStack()
        self._child: Requests | None = None
        self._prepared: Prepared | None = None
        self._bench: Bench | None = None
        self._known: Sequence[TrialRecord] = ()
        self._stages = Stages(lambda stage: None)

    def __enter__(self) -> Self:
        # It imports torch, which takes seconds, while demo data are drawn and files are checked.
        self._child = self._held.enter_context(self._maker or warm_child(self._builder, self._imports))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._held.close()

    @property
    def in_flight(self) -> int:
        """See `Runner`: where another machine measures, the next trial is made meanwhile."""
        return 2 if self._prepared is not None and self._prepared.station.apart else 1

    def open(self, prepared: Prepared, before: StudyResult, on_stage: OnStage) -> None:
        """See `Runner`."""
        prepared.store.remove_left_behind()
        clean(prepared.request.home)
        quantile = before.quantile or prepared.card.calibration.get("quantile", self._plan.quantile)
        self._prepared, self._stages, self._known = prepared, Stages(on_stage), before.records
        opening = open_bench(
            prepared,
            on_stage=on_stage,
            child=self._child,
            plan=replace(self._plan, quantile=quantile),
            reference_latency_s=before.reference_latency_s,
            kept=self._kept,
        )
        self._bench = self._held.enter_context(opening)

    def check(self) -> Space:
        """See `Runner`; the first seed is exported while the caller goes on."""
        bench, prepared = self._open()
        bench.maker.check()
        space = space_check.possible(prepared.space, bench.maker, str(prepared.request.space))
        space = effort.fitting(replace(prepared, space=space), self._known, bench.maker.call_time)
        bench.begin(seeds(space)[0].configuration)
        return space

    def run(self, proposal: Proposal, study: StudyResult) -> TrialRecord:
        """See `Runner`."""
        bench, prepared = self._open()
        limit_s = prepared.request.stage_timeouts.get(STAGE) or answer_timeout_s(study.reference)
        bench = replace(bench, measure_timeout_s=limit_s)
        self._bench = bench
        reference = None if study.reference is None else study.reference.quality
        return self._evaluate(
            proposal.configuration,
            bench,
            stop=StopRule(partial(enough, study=study), clear(study)),
            screening=screening_of(
                bench.workload.splits[bench.split], reference, drop_limit(study.card.limits, reference)
            ),
            origin=proposal.origin,
            label=proposal.label,
        )

    def compare(self, records: Sequence[TrialRecord]) -> list[Measurement]:
        """See `Runner`."""
        return head_to_head(records, self._open()[0], self._stages)

    def confirm(self, record: TrialRecord) -> Quality:
        """See `Runner`."""
        return on_test(record, self._open()[0], self._stages, self._test_cases)

    @property
    def made(self) -> Mapping[str, int]:
        """See `Runner`."""
        return {} if self._bench is None else dict(self._bench.maker.made)

    @property
    def reused(self) -> Mapping[str, int]:
        """See `Runner`."""
        return {} if self._bench is None else dict(self._bench.maker.reused)

    @property
    def later_s(self) -> Mapping[str, float]:
        """See `Runner`."""
        return self._stages.seconds

    @cached_property
    def _test_cases(self) -> Artifact:
        bench, prepared = self._open()
        return pack_cases(bench.workload, "test", prepared.store)

    def _open(self) -> tuple[Bench, Prepared]:
        if self._bench is None or self._prepared is None:
            raise ValueError("a runner must be opened with a prepared request before it runs trials")
        return self._bench, self._prepared

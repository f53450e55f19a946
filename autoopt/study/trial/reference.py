"""The reference, beside which every candidate is measured: chosen, made and opened once, when the first trial needs it.

The compiled baseline in FP32 where it can run, else the eager reference in FP32, else the first FP32 seed that works.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, Self

from autoopt.compress.export import form_of
from autoopt.compress.maker import Maker
from autoopt.core.configuration import Configuration
from autoopt.core.process import USUAL_TIMEOUT_S
from autoopt.core.store import Artifact
from autoopt.errors import TargetLost, TrialError
from autoopt.inference.runtimes import BASELINE_LABEL, EXACT, REFERENCE_LABEL
from autoopt.measure.station import Reference, Station
from autoopt.measure.subject import Subject
from autoopt.measure.timing import MeasuringPlan
from autoopt.study.space import Seed
from autoopt.study.trial.kept import Kept
from autoopt.workloads.contract import Workload

PREFERRED = (BASELINE_LABEL, REFERENCE_LABEL)


class ReferenceProcess:
    """The reference of a study, open in a process on `station` until the end of the study; a context manager.

    `seeds` are those of the space; `reference_latency_s` is what a call of the reference took when the study began,
    None for a new one; each of its answers may take `timeout_s`; what is `kept` runs as it is stored. `configuration`
    is the seed in use, None while there is none; `refused` says why others were not taken.
    """

    def __init__(
        self,
        workload: Workload,
        maker: Maker,
        station: Station[Any, Any],
        seeds: Sequence[Seed],
        cases: Artifact,
        plan: MeasuringPlan,
        *,
        reference_latency_s: float | None = None,
        timeout_s: float = USUAL_TIMEOUT_S,
        kept: Kept | None = None,
    ) -> None:
        exact = [seed for seed in seeds if seed.label.endswith(EXACT)]
        last = len(PREFERRED)
        self._seeds = sorted(exact, key=lambda s: PREFERRED.index(s.label) if s.label in PREFERRED else last)
        self._workload, self._maker, self._station, self._cases = workload, maker, station, cases
        self._plan, self._reference_latency_s, self._timeout_s = plan, reference_latency_s, timeout_s
        self._kept = kept
        self._held = ExitStack()
        self._reference: Reference | None = None
        self.configuration: Configuration | None = None
        self.label = ""
        self.refused: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._held.close()

    def worker(self) -> Any:
        """The open process of the reference as the station gives it (a `Reference`), slow the first time.

        None where no seed can be the reference.
        """
        while self._reference is None and self._seeds:
            seed = self._seeds.pop(0)
            try:
                self._reference = self._open(seed.configuration)
                self.configuration, self.label = seed.configuration, seed.label
            except TargetLost:
                self._seeds.insert(0, seed)  # nothing is wrong with it
                raise
            except TrialError as error:  # the seed's own trial tells it in full
                self.refused[seed.label] = error.message
        return self._reference

    def _open(self, configuration: Configuration) -> Reference:
        settings = configuration.runtime
        stored = [] if self._kept is None else self._kept.chain(configuration)
        artifact = stored[-1] if stored else self._maker.export(*form_of(settings))
        subject = Subject(artifact, settings, self._workload.pipeline, self._cases, self._workload.latency)
        opening = self._station.reference(
            subject, self._plan, reference_latency_s=self._reference_latency_s, timeout_s=self._timeout_s
        )
        with ExitStack() as held:
            reference: Reference = held.enter_context(opening)
            reference.open()
            self._held.push(held.pop_all())
        return reference

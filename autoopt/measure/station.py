"""Where the trials of a study are measured: a target with the reference of the study open beside every trial.

A `Station` is asked for whole pieces of work, such as one process from its start to its last turn: turns take a
twentieth of a second each, and a message to another machine may take longer. `LocalStation` is this machine;
`measure/remote/` has one that is reached over the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

import numpy as np

from autoopt.core.configuration import RuntimeSettings
from autoopt.core.host import Host
from autoopt.core.measurement import Measurement
from autoopt.measure import head_to_head, measuring
from autoopt.measure.reference_worker import ReferenceWorker
from autoopt.measure.subject import Subject
from autoopt.measure.taking import LocalTaking, Taking
from autoopt.measure.target import Target
from autoopt.measure.timing import MeasuringPlan
from autoopt.measure.turns import Clear
from autoopt.measure.workers import Workers


class Reference(Protocol):
    """The process of the reference, open on a station until the end of a block."""

    subject: Subject

    @property
    def reference_latency_s(self) -> float | None:
        """What a call takes there; None before the first process beside it, unless it was given."""
        ...

    def open(self) -> None:
        """Wait until it is ready. Raises TrialError; ReferenceDied once it was open before."""
        ...


R = TypeVar("R", bound=Reference)
W = TypeVar("W")


class Station(Protocol[R, W]):
    """A machine that measures the trials of one study, one process at a time.

    What it gives as a reference (`R`) and as processes that were started early (`W`) it takes back as it is.
    """

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def host(self) -> Host:
        """What it is: for canonical forms, seeds, measurements, records and the study's card."""
        ...

    @property
    def apart(self) -> bool:
        """Whether it is another machine than the one that makes artifacts, so that both can work at once."""
        ...

    def why_no_energy(self) -> str:
        """Why no energy can be read there, and what to do; empty where it can."""
        ...

    def workers(self, settings: RuntimeSettings) -> AbstractContextManager[W]:
        """Processes for these settings, the first of which starts at once, while an artifact is still being made."""
        ...

    def reference(
        self, subject: Subject, plan: MeasuringPlan, *, reference_latency_s: float | None, timeout_s: float
    ) -> AbstractContextManager[R]:
        """The process of the reference; see `ReferenceWorker`."""
        ...

    def taking(
        self,
        subject: Subject,
        workers: W,
        *,
        plan: MeasuringPlan,
        reference: R | None,
        clear: Clear,
        timeout_s: float,
        memory_bytes: int | None,
    ) -> Taking:
        """What measures the processes of one trial; see `LocalTaking`."""
        ...

    def together(self, subjects: Sequence[Subject], *, plan: MeasuringPlan, reference: R | None) -> list[Measurement]:
        """One process of each subject, all open at once; see `measure_together`."""
        ...

    def predictions(self, subject: Subject, *, timeout_s: float) -> list[np.ndarray]:
        """The predictions of all cases, without timing anything. Raises TrialError."""
        ...


class LocalStation:
    """This machine, or whatever `target` is: see `Station`."""

    name = "this host"
    apart = False

    def __init__(self, target: Target) -> None:
        self.target = target

    @property
    def host(self) -> Host:
        """See `Station`."""
        return self.target.host

    def why_no_energy(self) -> str:
        """See `Station`."""
        return self.target.why_no_energy()

    def workers(self, settings: RuntimeSettings) -> Workers:
        """See `Station`."""
        return Workers(settings, self.target)

    def reference(
        self, subject: Subject, plan: MeasuringPlan, *, reference_latency_s: float | None, timeout_s: float
    ) -> ReferenceWorker:
        """See `Station`."""
        return ReferenceWorker(subject, self.target, plan, reference_latency_s=reference_latency_s, timeout_s=timeout_s)

    def taking(
        self,
        subject: Subject,
        workers: Workers,
        *,
        plan: MeasuringPlan,
        reference: ReferenceWorker | None,
        clear: Clear,
        timeout_s: float,
        memory_bytes: int | None,
    ) -> LocalTaking:
        """See `Station`."""
        return LocalTaking(
            subject,
            workers,
            plan=plan,
            reference_worker=reference,
            clear=clear,
            timeout_s=timeout_s,
            memory_bytes=memory_bytes,
        )

    def together(
        self, subjects: Sequence[Subject], *, plan: MeasuringPlan, reference: ReferenceWorker | None
    ) -> list[Measurement]:
        """See `Station`."""
        return head_to_head.measure_together(subjects, self.target, plan=plan, reference_worker=reference)

    def predictions(self, subject: Subject, *, timeout_s: float) -> list[np.ndarray]:
        """See `Station`."""
        return measuring.predictions(subject, self.target, timeout_s=timeout_s)

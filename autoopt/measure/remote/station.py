"""A station that is another machine: every piece of work is one request to its keeper."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from autoopt.core.configuration import RuntimeSettings, digest
from autoopt.core.host import Host
from autoopt.core.measurement import Measurement
from autoopt.measure.concurrency import Concurrency
from autoopt.measure.head_to_head import merged
from autoopt.measure.merging import Taken
from autoopt.measure.remote import wire
from autoopt.measure.remote.link import Link, Reply
from autoopt.measure.subject import Subject
from autoopt.measure.taking import Answered
from autoopt.measure.timing import MeasuringPlan
from autoopt.measure.turns import Clear


class RemoteReference:
    """The process of the reference on the target; its keeper starts it again where that is needed."""

    def __init__(
        self,
        link: Link,
        subject: Subject,
        plan: MeasuringPlan,
        *,
        reference_latency_s: float | None,
        timeout_s: float,
    ) -> None:
        self.subject, self.reference_latency_s = subject, reference_latency_s
        self._link, self._plan, self._timeout_s = link, plan, timeout_s

    def __enter__(self) -> RemoteReference:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """The keeper ends it with the pipe, or when it opens another."""

    def open(self) -> None:
        """See `Reference`."""
        self.remember(self._link.ask("reference", {"reference": self.to_json()}, needed([self.subject])).answer)

    def remember(self, answer: Mapping[str, Any]) -> None:
        """Note what a call takes, as an answer tells it."""
        self.reference_latency_s = answer["reference_latency_s"]

    def to_json(self) -> dict[str, Any]:
        """All that a keeper needs to open it."""
        return {
            "subject": wire.subject_to_json(self.subject),
            "plan": self._plan.to_json(),
            "reference_latency_s": self.reference_latency_s,
            "timeout_s": self._timeout_s,
        }


class RemoteTaking:
    """See `Taking`; `name` begins the names of its runs, `settings` are what each request of it says."""

    def __init__(
        self,
        link: Link,
        subject: Subject,
        plan: MeasuringPlan,
        name: str,
        settings: Mapping[str, Any],
        reference: RemoteReference | None,
        runs: list[str],
    ) -> None:
        self.subject, self.plan = subject, plan
        self._link, self._name, self._settings, self._reference, self._runs = link, name, settings, reference, runs

    @property
    def host(self) -> Host:
        """See `Taking`."""
        return self._link.hello().host

    @property
    def reference_latency_s(self) -> float | None:
        """See `Taking`."""
        return None if self._reference is None else self._reference.reference_latency_s

    def first(self, cases: Sequence[int] | None) -> tuple[Taken, Answered]:
        """See `Taking`."""
        reply = self._ask("first", {"wanted": None if cases is None else list(cases)})
        return wire.taken_from_json(reply.answer["taken"]), _answered(reply)

    def others(self, cases: Sequence[int]) -> Answered:
        """See `Taking`."""
        return _answered(self._ask("others", {"cases": list(cases)}))

    def another(self) -> Taken:
        """See `Taking`."""
        return wire.taken_from_json(self._ask("another", {}).answer["taken"])

    def concurrency(self) -> Concurrency:
        """See `Taking`."""
        return wire.concurrency_from_json(self._ask("concurrency", {}).answer)

    def _ask(self, do: str, more: Mapping[str, Any]) -> Reply:
        run = digest([self._name, len(self._runs)])
        self._runs.append(run)
        reference = None if self._reference is None else self._reference.to_json()
        request = {**self._settings, **more, "trial": self._name, "run": run, "reference": reference}
        subjects = [self.subject, *([] if self._reference is None else [self._reference.subject])]
        reply = self._link.ask(do, request, needed(subjects))
        if self._reference is not None and "reference_latency_s" in reply.answer:
            self._reference.remember(reply.answer)
        return reply


class RemoteStation:
    """The machine at the other end of `link`: see `Station`. `study` is a digest of the study that is measured there.

    A run has a name that tells what is measured, for which study and at which try, so that a driver that was killed
    finds what its target measured meanwhile. Results are kept there until this thread asks for another trial: then the
    last one is stored.
    """

    apart = True

    def __init__(self, link: Link, study: str) -> None:
        self._link, self._study = link, study
        self._tries: Counter[str] = Counter()
        self._of_thread = threading.local()

    @property
    def name(self) -> str:
        """See `Station`."""
        return self._link.name

    @property
    def host(self) -> Host:
        """See `Station`."""
        return self._link.hello().host

    def why_no_energy(self) -> str:
        """See `Station`."""
        return self._link.hello().why_no_energy

    @contextmanager
    def workers(self, settings: RuntimeSettings) -> Iterator[None]:
        """See `Station`; nothing starts before it measures, for it may be measuring another trial."""
        yield

    def reference(
        self, subject: Subject, plan: MeasuringPlan, *, reference_latency_s: float | None, timeout_s: float
    ) -> RemoteReference:
        """See `Station`."""
        return RemoteReference(self._link, subject, plan, reference_latency_s=reference_latency_s, timeout_s=timeout_s)

    def taking(
        self,
        subject: Subject,
        workers: None,
        *,
        plan: MeasuringPlan,
        reference: RemoteReference | None,
        clear: Clear,
        timeout_s: float,
        memory_bytes: int | None,
    ) -> RemoteTaking:
        """See `Station`."""
        settings = {
            "subject": wire.subject_to_json(subject),
            "plan": plan.to_json(),
            "clear": wire.clear_to_json(clear),
            "timeout_s": timeout_s,
            "memory_bytes": memory_bytes,
        }
        name = self._named("trial", [subject])
        return RemoteTaking(self._link, subject, plan, name, settings, reference, self._begun())

    def together(
        self, subjects: Sequence[Subject], *, plan: MeasuringPlan, reference: RemoteReference | None
    ) -> list[Measurement]:
        """See `Station`."""
        request = {
            "subjects": [wire.subject_to_json(subject) for subject in subjects],
            "plan": plan.to_json(),
            "reference": None if reference is None else reference.to_json(),
        }
        answer = self._run("together", subjects, request, [] if reference is None else [reference.subject]).answer
        if reference is not None:
            reference.remember(answer)
        taken = [wire.taken_from_json(item) for item in answer["taken"]]
        return merged(subjects, taken, self.host, plan, answer["reference_latency_s"])

    def predictions(self, subject: Subject, *, timeout_s: float) -> list[np.ndarray]:
        """See `Station`."""
        request = {"subject": wire.subject_to_json(subject), "timeout_s": timeout_s}
        found = _answered(self._run("predictions", [subject], request, [])).predictions
        return [found[index] for index in sorted(found)]

    def _run(self, do: str, subjects: Sequence[Subject], request: Mapping[str, Any], more: Sequence[Subject]) -> Reply:
        name = self._named(do, subjects)
        self._begun().append(name)
        return self._link.ask(do, {**request, "run": name}, needed([*subjects, *more]))

    def _named(self, do: str, subjects: Sequence[Subject]) -> str:
        """The name of what is done with the subjects, at this try of it by this driver."""
        what = digest([self._study, do, [wire.subject_to_json(subject) for subject in subjects]])
        self._tries[what] += 1
        return digest([what, self._tries[what]])

    def _begun(self) -> list[str]:
        """The list of the runs of this thread's next trial; those of the one before are stored, and told so."""
        before: list[str] = getattr(self._of_thread, "runs", [])
        if before:
            self._link.ask("told", {"runs": before})
        self._of_thread.runs = []
        found: list[str] = self._of_thread.runs
        return found


def needed(subjects: Sequence[Subject]) -> list[Any]:
    """The artifacts of the subjects, each once."""
    found = {(item.kind, item.key): item for one in subjects for item in (one.artifact, one.cases)}
    return list(found.values())


def _answered(reply: Reply) -> Answered:
    cases = map(int, reply.answer["cases"])
    return Answered(dict(zip(cases, reply.arrays, strict=True)), reply.answer["effective"])

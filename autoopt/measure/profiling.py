"""The parent's side of a profile: fresh processes that take turns, so that a busy minute of the host hits all alike."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from autoopt.core.configuration import RuntimeSettings
from autoopt.core.process import Child
from autoopt.core.store import Artifact
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.runtimes.layers import PRECISIONS, Layer, over_calls
from autoopt.measure.launcher import LOCK, LOCK_WAIT_S, THREAD_VARIABLES
from autoopt.measure.lock import host_lock
from autoopt.measure.subject import Subject

PROFILER = "autoopt.measure.profiler"
STAGE = "profile"
ROUNDS = 4
"""Turns of each model; of all of them the least counts, because a busy host only ever adds."""
ROUND_S = 0.6
"""Seconds of plain calls in one round, and as many profiled ones."""
FEWEST_CALLS, MOST_CALLS = 3, 40
CONVERSIONS, UNKNOWN = "conversions", "unknown"
"""What `shares` calls the layers that do no work of the network, and those of unknown precision."""


@dataclass(frozen=True)
class Profile:
    """The executed layers of a model in order, and `call_s`, the least that a call takes while nothing looks."""

    layers: tuple[Layer, ...]
    call_s: float

    @property
    def layers_s(self) -> float:
        """The layers' seconds, added up: with the cost of looking, without what is between layers."""
        return sum(layer.seconds for layer in self.layers)

    @property
    def conversions(self) -> tuple[Layer, ...]:
        """The layers that do no work of the network."""
        return tuple(layer for layer in self.layers if layer.conversion)

    @property
    def working(self) -> tuple[Layer, ...]:
        """All other layers."""
        return tuple(layer for layer in self.layers if not layer.conversion)

    @property
    def shares(self) -> dict[str, float]:
        """Fractions of the layers' time: the working layers by precision, narrowest first, then the conversions.

        Only what is there; the fractions add up to 1. Empty where no time was recorded.
        """
        seconds = dict.fromkeys([*PRECISIONS, UNKNOWN, CONVERSIONS], 0.0)
        for layer in self.layers:
            seconds[CONVERSIONS if layer.conversion else layer.precision or UNKNOWN] += layer.seconds
        total = sum(seconds.values())
        return {name: item / total for name, item in seconds.items() if item > 0}


def profile(
    artifact: Artifact,
    runtime: RuntimeSettings,
    pipeline: Pipeline,
    cases: Artifact,
    *,
    timeout_s: float = 300.0,
) -> Profile:
    """The profile of one artifact with the canonical `runtime` section. Raises as `profile_all`."""
    return profile_all([Subject(artifact, runtime, pipeline, cases)], timeout_s=timeout_s)[0]


def profile_all(subjects: Sequence[Subject], *, timeout_s: float = 300.0) -> list[Profile]:
    """The profiles of `subjects`, each in a process of its own, taking turns; `timeout_s` bounds the work of each.

    Nothing else is measured on this host meanwhile. Raises a TrialError, or BusyError.
    """
    with ExitStack() as held:
        held.enter_context(host_lock(LOCK, timeout_s=LOCK_WAIT_S))
        deadline = time.monotonic() + timeout_s * len(subjects)
        seats = [held.enter_context(_Seat(subject, deadline)) for subject in subjects]
        for _ in range(ROUNDS):
            for seat in seats:
                seat.play()
    return [seat.profile() for seat in seats]


class _Seat:
    """One process with one artifact open, and what its rounds gave."""

    def __init__(self, subject: Subject, deadline: float) -> None:
        threads = str(subject.runtime.threads)
        self._child = Child(PROFILER, environment=dict.fromkeys(THREAD_VARIABLES, threads))
        self._opening = subject.profiling()
        self._deadline = deadline
        self._calls = FEWEST_CALLS
        self._calls_s: list[float] = []
        self._layers: list[list[Layer]] = []

    def __enter__(self) -> _Seat:
        try:
            call_s = self._ask(self._opening)["call_s"]
        except BaseException:
            self._child.close(now=True)
            raise
        self._calls = min(MOST_CALLS, max(FEWEST_CALLS, round(ROUND_S / max(call_s, 1e-6))))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._child.close(now=True)

    def play(self) -> None:
        """One round."""
        reply = self._ask({"do": "round", "calls": self._calls})
        self._calls_s += reply["calls_s"]
        self._layers.append([Layer.from_json(item) for item in reply["layers"]])

    def profile(self) -> Profile:
        """The least of all rounds."""
        return Profile(tuple(over_calls(self._layers, quantile=0.0)), min(self._calls_s))

    def _ask(self, job: Mapping[str, Any]) -> dict[str, Any]:
        return self._child.call(job, stage=STAGE, timeout_s=max(1.0, self._deadline - time.monotonic()))

"""Profiles of one or several models, seen from the parent: fresh processes that take turns.

So a busy minute of the host slows all of them alike.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from autoopt.core.process import USUAL_TIMEOUT_S
from autoopt.inference.runtimes.layers import PRECISIONS, Layer, over_calls
from autoopt.measure.case_stages import CaseStages
from autoopt.measure.subject import Subject
from autoopt.measure.target import Target

PROFILER = "autoopt.measure.profiler"
STAGE = "profile"
FEWEST_CALLS, MOST_CALLS = 3, 40
QUICK_CASE_S = 5.0
"""A case that takes longer is run once, not in every round; where a study times something else, not at all."""
CONVERSIONS, UNKNOWN = "conversions", "unknown"
"""What `shares` calls the layers that do no work of the network, and those of unknown precision."""


@dataclass(frozen=True)
class ProfilePlan:
    """How long to profile: each model gets `rounds` rounds of `round_s` seconds of plain and as many profiled calls.

    Of all rounds the least seconds count, because a busy host only ever adds.
    """

    rounds: int = 4
    round_s: float = 0.6


@dataclass(frozen=True)
class Profile:
    """The executed layers of a model in order, and `call_s`, the least seconds of a call that is not profiled.

    `case` has the stages of a whole case; None where a study times something else and a case takes long.
    """

    layers: tuple[Layer, ...]
    call_s: float
    case: CaseStages | None = None

    @property
    def layers_s(self) -> float:
        """The seconds of all layers: with what profiling costs, without what happens between layers."""
        return sum(layer.seconds for layer in self.layers)

    @property
    def conversions(self) -> tuple[Layer, ...]:
        """The layers that only convert numbers or their layout."""
        return tuple(layer for layer in self.layers if layer.conversion)

    @property
    def working(self) -> tuple[Layer, ...]:
        """The layers that do the work of the network."""
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
    subject: Subject, target: Target, *, plan: ProfilePlan | None = None, timeout_s: float = USUAL_TIMEOUT_S
) -> Profile:
    """The profile of one subject. Raises as `profile_all`."""
    return profile_all([subject], target, plan=plan, timeout_s=timeout_s)[0]


def profile_all(
    subjects: Sequence[Subject],
    target: Target,
    *,
    plan: ProfilePlan | None = None,
    timeout_s: float = USUAL_TIMEOUT_S,
) -> list[Profile]:
    """The profiles of `subjects`, each in a process of its own, taking turns; `timeout_s` bounds the work of each.

    Nothing else is measured on the target meanwhile. Raises TrialError, or BusyError.
    """
    plan = plan or ProfilePlan()
    with ExitStack() as held:
        held.enter_context(target.exclusive())
        deadline = time.monotonic() + timeout_s * len(subjects)
        profiled = [held.enter_context(_OpenProfiler(subject, target, plan, deadline)) for subject in subjects]
        for _ in range(plan.rounds):
            for one in profiled:
                one.play()
    return [one.profile() for one in profiled]


class _OpenProfiler:
    """One process with one artifact open, and what its rounds gave."""

    def __init__(self, subject: Subject, target: Target, plan: ProfilePlan, deadline: float) -> None:
        self._child = target.worker(PROFILER, threads=subject.runtime.threads)
        self._subject, self._target, self._plan = subject, target, plan
        self._deadline = deadline
        self._calls = FEWEST_CALLS
        self._calls_s: list[float] = []
        self._layers: list[list[Layer]] = []
        self._case: CaseStages | None = None
        self._cases_take_long = False

    def __enter__(self) -> _OpenProfiler:
        try:
            call_s = self._ask("open", self._subject.profiling(self._target))["call_s"]
        except BaseException:
            self._child.close(now=True)
            raise
        self._calls = min(MOST_CALLS, max(FEWEST_CALLS, round(self._plan.round_s / max(call_s, 1e-6))))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._child.close(now=True)

    def play(self) -> None:
        """One round."""
        reply = self._ask("round", {"calls": self._calls})
        self._calls_s += reply["calls_s"]
        self._layers.append([Layer.from_json(item) for item in reply["layers"]])
        if not self._cases_take_long:
            self._play_case()

    def _play_case(self) -> None:
        most_s = None if self._subject.latency == "case" else QUICK_CASE_S
        reply = self._ask("case", {"most_s": most_s})["stages"]
        if reply is not None:
            case = CaseStages.from_json(reply)
            self._case = case if self._case is None else min(self._case, case, key=lambda each: each.total_s)
        self._cases_take_long = self._case is None or self._case.total_s >= QUICK_CASE_S

    def profile(self) -> Profile:
        """The least of all rounds."""
        return Profile(tuple(over_calls(self._layers, quantile=0.0)), min(self._calls_s), self._case)

    def _ask(self, do: str, request: Mapping[str, Any]) -> dict[str, Any]:
        return self._child.call(do, request, stage=STAGE, timeout_s=max(1.0, self._deadline - time.monotonic()))

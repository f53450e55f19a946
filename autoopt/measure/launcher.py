"""The parent's side of a measurement: the lock, fresh worker processes, one merged Measurement."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import numpy as np

from autoopt import stats
from autoopt.infer import Pipeline
from autoopt.measure.files import array_name, case_ids
from autoopt.measure.lock import host_lock
from autoopt.measure.timing import Plan
from autoopt.process import Child
from autoopt.records import Host, Measurement, Scalar
from autoopt.store import Artifact
from autoopt.workload import Latency

WORKER = "autoopt.measure.worker"
LOCK = "measure"
LOCK_WAIT_S = 3600.0
"""How long another measurement on this host may keep this one waiting."""
PROCESSES_DIFFER = 0.10
"""The p25 latencies of two processes that differ by more are worth a doubt."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_CHECKED = ("precision", "threads", "streams")


class Workers:
    """The fresh worker processes of one measurement with the canonical `runtime` section; a context manager.

    The first one starts at once and imports its runtime, while the artifact is still being made.
    """

    def __init__(self, runtime: Mapping[str, Scalar]) -> None:
        self._name = str(runtime["name"])
        self._environment = dict.fromkeys(THREAD_VARIABLES, str(runtime.get("threads") or 1))
        self._started_ones: list[Child] = []
        self._waiting: Child | None = None

    def __enter__(self) -> Self:
        self._waiting = self._started()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for child in self._started_ones:
            child.close(now=True)  # it has nothing to tidy up: leaving by itself takes a runtime up to a second

    def take(self) -> Child:
        """A worker that nobody used yet; its first answer, to the import, is still to be received."""
        child, self._waiting = self._waiting or self._started(), None
        return child

    def _started(self) -> Child:
        child = Child(WORKER, environment=self._environment)
        self._started_ones.append(child)
        child.send({"do": "import", "runtime": self._name}, stage="measure")
        return child


def measure(
    artifact: Artifact,
    runtime: Mapping[str, Scalar],
    pipeline: Pipeline,
    cases: Artifact,
    *,
    host: Host,
    plan: Plan | None = None,
    timeout_s: float = 300.0,
    predict: bool = True,
    latency: Latency = "call",
    workers: Workers | None = None,
) -> tuple[Measurement, list[np.ndarray]]:
    """Time `artifact` with the canonical `runtime` section, and predict all of `cases`.

    What is timed is a network call on the first tile, or (`latency` "case") the case of median size through the whole
    pipeline. The predictions are in the order of the packed cases; empty without `predict`. One
    measurement at a time runs on a host; `timeout_s` bounds the work, not the waiting. `workers` were started before.
    Raises a TrialError, or BusyError after `LOCK_WAIT_S`.
    """
    plan = plan or Plan()
    opening = {
        "do": "open",
        "artifact": str(artifact.path),
        "runtime": dict(runtime),
        "pipeline": pipeline.to_json(),
        "cases": str(cases.path),
        "latency": latency,
    }
    with ExitStack() as held:
        workers = workers or held.enter_context(Workers(runtime))
        held.enter_context(host_lock(LOCK, timeout_s=LOCK_WAIT_S))
        folder = held.enter_context(tempfile.TemporaryDirectory(prefix="autoopt-"))
        deadline = time.monotonic() + timeout_s

        def answer(child: Child) -> dict[str, Any]:
            return child.receive(stage="measure", timeout_s=max(1.0, deadline - time.monotonic()))

        def begin(child: Child) -> Child:
            answer(child)
            child.send(opening, stage="measure")
            return child

        def timed(child: Child) -> dict[str, Any]:
            opened = answer(child)
            child.send({"do": "time", "plan": plan.to_json()}, stage="measure")
            return {**opened, **answer(child)}

        first = begin(workers.take())
        replies = [timed(first)]
        first.send({"do": "predict", "folder": folder if predict else None}, stage="measure")
        # The next process starts and loads while this one predicts: neither is being timed. Its load may
        # look long for it, so the least of all counts.
        waiting = begin(workers.take()) if plan.processes > 1 else None
        effective = answer(first)["effective"]
        first.close(now=True)
        for index in range(1, plan.processes):
            child = waiting if waiting is not None and index == 1 else begin(workers.take())
            replies.append(timed(child))
            child.close(now=True)
        count = len(case_ids(cases.path)) if predict else 0
        predictions = [np.load(Path(folder) / array_name(index), allow_pickle=False) for index in range(count)]
    return merge(replies, effective, runtime, artifact.size_bytes, host), predictions


def merge(
    replies: Sequence[Mapping[str, Any]],
    effective: Mapping[str, Scalar],
    runtime: Mapping[str, Scalar],
    artifact_bytes: int,
    host: Host,
) -> Measurement:
    """One Measurement of what the worker processes answered, and what was `effective` in the first of them.

    Load and first call are the least of the processes (a busy host only ever adds), memory the most.
    """
    doubts = _said_once([doubt for reply in replies for doubt in reply["doubts"]])
    doubts += _unlike(runtime, effective) + _apart([reply["calls_s"] for reply in replies])
    return Measurement(
        calls_s=tuple(tuple(reply["calls_s"]) for reply in replies),
        warmups_s=tuple(tuple(reply["warmups_s"]) for reply in replies),
        cpu_s=tuple(reply["cpu_s"] for reply in replies),
        load_s=min(reply["load_s"] for reply in replies),
        first_call_s=min(reply["first_call_s"] for reply in replies),
        peak_rss_bytes=max(reply["peak_rss_bytes"] for reply in replies),
        artifact_bytes=artifact_bytes,
        effective=dict(effective),
        host=host.fingerprint,
        doubts=tuple(doubts),
    )


def _said_once(doubts: Sequence[str]) -> list[str]:
    """The doubts without those that differ from an earlier one in their numbers only."""
    first: dict[str, str] = {}
    for doubt in doubts:
        first.setdefault(re.sub(r"\d+", "0", doubt), doubt)
    return list(first.values())


def _unlike(asked: Mapping[str, Scalar], effective: Mapping[str, Scalar]) -> list[str]:
    """A sentence for every setting that the runtime did not take as asked."""
    return [
        f"{name} {asked[name]} was asked for, {effective[name]} is what ran"
        for name in _CHECKED
        if name in asked and name in effective and asked[name] != effective[name]
    ]


def _apart(calls_s: Sequence[Sequence[float]]) -> list[str]:
    quartiles = [stats.quantile(calls, 0.25) for calls in calls_s]
    ratio = max(quartiles) / min(quartiles) - 1 if min(quartiles) > 0 else 0.0
    return [f"the worker processes differ by {ratio:.0%} in latency"] if ratio > PROCESSES_DIFFER else []

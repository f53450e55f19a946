"""The parent's side of a measurement: the lock, fresh worker processes, one merged Measurement."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autoopt import stats
from autoopt.infer import Pipeline
from autoopt.measure.files import array_name, case_ids
from autoopt.measure.lock import host_lock
from autoopt.measure.timing import Plan
from autoopt.process import Child
from autoopt.records import Host, Measurement, Scalar
from autoopt.store import Artifact

WORKER = "autoopt.measure.worker"
LOCK = "measure"
LOCK_WAIT_S = 3600.0
"""How long another measurement on this host may keep this one waiting."""
PROCESSES_DIFFER = 0.10
"""The p25 latencies of two processes that differ by more are worth a doubt."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_CHECKED = ("precision", "threads", "streams")


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
) -> tuple[Measurement, list[np.ndarray]]:
    """Time `artifact` with the canonical `runtime` section on a tile of `cases`, and predict all of them.

    The predictions are in the order of the packed cases; empty without `predict`. One measurement at a
    time runs on a host; `timeout_s` bounds the work, not the waiting. Raises a TrialError, or BusyError
    after `LOCK_WAIT_S`.
    """
    plan = plan or Plan()
    job = {
        "artifact": str(artifact.path),
        "runtime": dict(runtime),
        "pipeline": pipeline.to_json(),
        "cases": str(cases.path),
        "plan": plan.to_json(),
    }
    threads = str(runtime.get("threads") or 1)
    environment = dict.fromkeys(THREAD_VARIABLES, threads)
    with host_lock(LOCK, timeout_s=LOCK_WAIT_S), tempfile.TemporaryDirectory(prefix="autoopt-") as folder:
        deadline = time.monotonic() + timeout_s
        replies = []
        for index in range(max(1, plan.processes)):
            first = index == 0
            request = {**job, "examine": first, "predictions": folder if first and predict else None}
            with Child(WORKER, environment=environment) as child:
                left = max(1.0, deadline - time.monotonic())
                replies.append(child.call(request, stage="measure", timeout_s=left))
        count = len(case_ids(cases.path)) if predict else 0
        predictions = [np.load(Path(folder) / array_name(index), allow_pickle=False) for index in range(count)]
    return merge(replies, runtime, artifact.size_bytes, host), predictions


def merge(
    replies: Sequence[Mapping[str, Any]], runtime: Mapping[str, Scalar], artifact_bytes: int, host: Host
) -> Measurement:
    """One Measurement of what the worker processes answered; the first one says what was effective.

    Load and first call are the least of the processes (a busy host only ever adds), memory the most.
    """
    effective: dict[str, Scalar] = dict(replies[0]["effective"])
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
        effective=effective,
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

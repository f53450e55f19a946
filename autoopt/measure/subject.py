"""What is measured, and the requests that open it in a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from autoopt.core.configuration import RuntimeSettings
from autoopt.core.store import Artifact
from autoopt.inference.pipeline import Pipeline
from autoopt.measure.target import Target
from autoopt.measure.timing import MeasuringPlan
from autoopt.workloads.contract import Latency


@dataclass(frozen=True)
class Subject:
    """What is measured: an artifact with the canonical `runtime` section, on packed cases through a pipeline.

    What is timed is a network call on the first tile; with `latency` "tile" that tile as an image of its own through
    the whole pipeline, from pixels to answer; with "case" the case of median size likewise;
    with `CONCURRENT` many network calls on that tile at once.
    """

    artifact: Artifact
    runtime: RuntimeSettings
    pipeline: Pipeline
    cases: Artifact
    latency: Latency | Literal["concurrent"] = "call"

    def profiling(self, target: Target) -> dict[str, Any]:
        """The request that opens it in a profiler on `target`, which gets its files; raises Crash as `Target.put`."""
        return {
            "artifact": target.put(self.artifact),
            "runtime": dict(self.runtime),
            "pipeline": self.pipeline.to_json(),
            "cases": target.put(self.cases),
        }

    def opening(self, target: Target, plan: MeasuringPlan) -> dict[str, Any]:
        """The request that opens it in a worker on `target`, likewise."""
        return {**self.profiling(target), "latency": self.latency, "plan": plan.to_json()}

"""What is measured, and the job that opens it in a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from autoopt.core.configuration import RuntimeSettings
from autoopt.core.store import Artifact
from autoopt.inference.pipeline import Pipeline
from autoopt.measure.timing import Plan
from autoopt.workloads.contract import Latency


@dataclass(frozen=True)
class Subject:
    """What is measured: an artifact with the canonical `runtime` section, on packed cases through a pipeline.

    What is timed is a network call on the first tile; with `latency` "tile" that tile as an image of its own through
    the whole pipeline, from pixels to answer; with "case" the case of median size likewise.
    """

    artifact: Artifact
    runtime: RuntimeSettings
    pipeline: Pipeline
    cases: Artifact
    latency: Latency = "call"

    def profiling(self) -> dict[str, Any]:
        """The job that opens it in a profiler, for its first tile."""
        return {
            "do": "open",
            "artifact": str(self.artifact.path),
            "runtime": dict(self.runtime),
            "pipeline": self.pipeline.to_json(),
            "cases": str(self.cases.path),
        }

    def opening(self, plan: Plan) -> dict[str, Any]:
        """The job that opens it in a worker."""
        return {**self.profiling(), "latency": self.latency, "plan": plan.to_json()}

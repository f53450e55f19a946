"""The fake model, ready to be measured: shared by the tests of this folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoopt.core.configuration import RuntimeSettings, Scalar
from autoopt.core.host import Host
from autoopt.core.store import Artifact, Store
from autoopt.measure.measuring import measure
from autoopt.measure.pack import pack_cases
from autoopt.measure.subject import Subject
from autoopt.measure.target import Target
from autoopt.measure.timing import MeasuringPlan
from tests import tiny

HOST = Host(cpu="test", arch="x86_64", cores=2, memory_bytes=8 << 30, isa=(), system="Linux")
QUICK = MeasuringPlan(processes=1, warmup_min_s=0.0, warmup_max_s=0.02, rounds=2, most_rounds=3, turn_s=0.02)


@dataclass(frozen=True)
class Setup:
    """A store with the fake model and the packed cases of the tiny workload, and where they are measured."""

    store: Store
    artifact: Artifact
    cases: Artifact
    target: Target

    @classmethod
    def below(cls, folder: Path, target: Target) -> Setup:
        """A setup whose store is in `folder`."""
        store = Store(folder / "store")

        def build(place: Path) -> dict[str, Any]:
            (place / "fake.json").write_text(json.dumps({"classes": 2}))
            return {}

        model = store.put("fake", "0" * 64, {}, build)
        return cls(store, model, pack_cases(tiny.workload(), "val", store), target)

    def subject(self, **runtime: Scalar) -> Subject:
        return Subject(self.artifact, RuntimeSettings(runtime), tiny.PIPELINE, self.cases)

    def fake(self, latency_ms: float, **settings: Scalar) -> Subject:
        return self.subject(name="fake", threads=1, precision="f32", latency_ms=latency_ms, **settings)

    def measure(
        self, *, timeout_s: float = 60.0, predict: bool = True, plan: MeasuringPlan = QUICK, **settings: Scalar
    ) -> Any:
        runtime: dict[str, Scalar] = {"name": "fake", "threads": 1, "precision": "f32", "latency_ms": 0.5, **settings}
        return measure(self.subject(**runtime), self.target, plan=plan, timeout_s=timeout_s, predict=predict)

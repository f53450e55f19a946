"""The process of one row of a training study: it trains one network, or tries one artifact of it, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.core.process import serve
from autoopt.core.quick_timing import least_seconds
from autoopt.inference.pipeline import predict
from autoopt.inference.runtimes import runtime
from autoopt.measure.quality import score
from autoopt.workloads.contract import Origin
from autoopt.workloads.loading import load_again

TURNS, CALLS = 8, 4


def train(request: dict[str, Any]) -> Mapping[str, Any]:
    """Train one network by one arm: `origin` of the workload, `arm`, `seed`, `steps`, `threads`, `folder` of weights.

    The answer has the fields of `nets.training_arms.Trained`.
    """
    from autoopt.nets.training_arms import train_arm

    workload = load_again(Origin(**request["origin"]))
    trained = train_arm(
        workload,
        request["arm"],
        seed=request["seed"],
        steps=request["steps"],
        threads=request["threads"],
        folder=Path(request["folder"]),
    )
    return asdict(trained)


def infer(request: dict[str, Any]) -> Mapping[str, Any]:
    """Score the first of two `artifacts` on val of the workload of `origin`, and time both in turns.

    Each artifact is a folder and the settings of a runtime. `seconds` has the least of a call of each.
    """
    workload = load_again(Origin(**request["origin"]))
    sessions = [
        runtime(str(settings["name"])).open(Path(folder), settings) for folder, settings in request["artifacts"]
    ]
    try:
        cases = [case.read() for case in workload.splits.val]
        answers = [predict(workload.pipeline, sessions[0].run, case.image, case.affine) for case in cases]
        tile = workload.pipeline.prepare(cases[0].image, cases[0].affine)[0][:1]
        batch = np.ascontiguousarray(tile, np.float32)
        calls = [lambda item=item: item.run(batch) for item in sessions]
        seconds = least_seconds(calls, turns=TURNS, calls_each=CALLS)
    finally:
        for session in sessions:
            session.close()
    return {"scores": dict(score(workload, "val", answers).values), "seconds": seconds}


if __name__ == "__main__":
    serve({"train": train, "infer": infer})

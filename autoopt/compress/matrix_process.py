"""The process in which `autoopt matrix` runs artifacts: a cell that crashes ends this process and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.core.process import serve
from autoopt.core.quick_timing import least_seconds
from autoopt.errors import Numeric
from autoopt.inference.runtimes import runtime

TURNS, CALLS = 8, 4


def run(request: dict[str, Any]) -> Mapping[str, Any]:
    """Write the outputs of an artifact for the batches in one file to another; time it in turns with a baseline.

    `artifact` and `baseline` are each a folder and the settings of a runtime; without a baseline (None) nothing is
    timed. `seconds` are those of the artifact and of the baseline. Raises Numeric for outputs that are not finite.
    """
    folder, settings = request["artifact"]
    batches = np.load(Path(request["folder"]) / request["batches"], allow_pickle=False)
    session = runtime(str(settings["name"])).open(Path(folder), settings)
    try:
        answers = np.stack([session.run(batch) for batch in batches])
        if not np.isfinite(answers).all():
            raise Numeric("the answers must be finite numbers, they are not")
        np.save(Path(request["folder"]) / request["answers"], answers, allow_pickle=False)
        if request["baseline"] is None:
            return {"seconds": None}
        folder, settings = request["baseline"]
        baseline = runtime(str(settings["name"])).open(Path(folder), settings)
        try:
            calls = [lambda: session.run(batches[0]), lambda: baseline.run(batches[0])]
            return {"seconds": least_seconds(calls, turns=TURNS, calls_each=CALLS)}
        finally:
            baseline.close()
    finally:
        session.close()


if __name__ == "__main__":
    serve({"run": run})

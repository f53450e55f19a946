"""The process in which `autoopt matrix` runs what was made: a cell that dies takes nothing else with it."""

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
    """Write what an artifact answers to the batches in a file; the answer is the seconds of a call beside `baseline`.

    `artifact` and `baseline`, the float network (None: nothing is timed), are a folder and settings of a runtime.
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

"""The child process that profiles: numpy and one runtime. It opens an artifact once, then does round after round."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.core.configuration import Scalar
from autoopt.core.process import Handler, serve
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.runtimes import runtime
from autoopt.inference.runtimes.base import Session
from autoopt.measure.case_stages import stages_of
from autoopt.measure.files import case_affine, case_image
from autoopt.measure.worker import check_outputs, first_tile, typical_case

WARMUP_CALLS = 3


class Profiler:
    """What this process has open, and what it does with it: profiling.py and subject.py write the requests."""

    def __init__(self) -> None:
        self._pipeline: Pipeline
        self._cases: Path
        self._session: Session
        self._tile: np.ndarray
        self._call_s: float

    def handlers(self) -> dict[str, Handler]:
        """The table of its requests. They raise Unsupported, Numeric or BadData."""
        return {"open": self._open, "round": self._round, "case": self._case}

    def _open(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._pipeline, self._cases = pipeline, cases = Pipeline.from_json(request["pipeline"]), Path(request["cases"])
        self._tile = first_tile(pipeline, cases)
        settings: dict[str, Scalar] = dict(request["runtime"])
        self._session = runtime(str(settings.pop("name"))).open(Path(request["artifact"]), settings)
        check_outputs(pipeline, self._tile, self._session.run(self._tile))
        self._call_s = min(self._timed() for _ in range(WARMUP_CALLS))
        return {"call_s": self._call_s}

    def _round(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Plain calls, then as many profiled ones."""
        calls = int(request["calls"])
        self._timed()  # the other model ran meanwhile: the caches are cold
        calls_s = [self._timed() for _ in range(calls)]
        layers = self._session.profile(self._tile, calls)
        return {"calls_s": calls_s, "layers": [layer.to_json() for layer in layers]}

    def _case(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The stages of the case of median size; None where its calls would take more than `most_s` seconds."""
        index, most_s = typical_case(self._cases), request["most_s"]
        image, affine = case_image(self._cases, index), case_affine(self._cases, index)
        if most_s is not None and self._pipeline.cut(image, affine)[1].count * self._call_s > most_s:
            return {"stages": None}
        return {"stages": stages_of(self._pipeline, self._session.run, image, affine).to_json()}

    def _timed(self) -> float:
        began = time.perf_counter()
        self._session.run(self._tile)
        return time.perf_counter() - began


if __name__ == "__main__":
    serve(Profiler().handlers())

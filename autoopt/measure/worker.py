"""The child process that measures: numpy, one runtime and the inference pipeline, nothing else.

Its requests: `import` the runtime's library; `open` the artifact (load, first call, warm-up of what is timed: a network
call, an image of one tile, a whole case, or many network calls at once); take a `turn`; `predict` cases, as arrays in
a folder; `end`, with the settings that really ran.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.core import stats
from autoopt.core.configuration import Scalar
from autoopt.core.process import Handler, serve
from autoopt.core.short_file import read_short
from autoopt.errors import BadData, Numeric, TrialError
from autoopt.inference.pipeline import Pipeline, predict
from autoopt.inference.pipeline_checks import probability_problem
from autoopt.inference.runtimes import runtime
from autoopt.inference.runtimes.base import Concurrent, Session
from autoopt.measure.files import array_name, case_affine, case_ids, case_image
from autoopt.measure.timing import CONCURRENT, MeasuringPlan, settle, take_concurrent_turn, take_turn


class Worker:
    """What this process has open, and what it does with it: workers.py and subject.py write the requests."""

    def __init__(self) -> None:
        self._pipeline: Pipeline
        self._cases: Path
        self._session: Session
        self._many: tuple[Concurrent, np.ndarray] | None = None
        self._timed: Callable[[], object]
        self._call_s: float

    def handlers(self) -> dict[str, Handler]:
        """The table of its requests. They raise Unsupported, Numeric or BadData."""
        return {
            "import": self._import,
            "open": self._open,
            "turn": self._turn,
            "predict": self._predict,
            "end": self._end,
        }

    def _import(self, request: Mapping[str, Any]) -> dict[str, Any]:
        library = runtime(request["runtime"]).DISTRIBUTION
        if library is not None:
            with contextlib.suppress(ImportError):  # `open` says in its own words what is missing
                importlib.import_module(library)
        return {}

    def _open(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._pipeline, self._cases = Pipeline.from_json(request["pipeline"]), Path(request["cases"])
        tile = first_tile(self._pipeline, self._cases)
        settings: dict[str, Scalar] = dict(request["runtime"])
        executes = runtime(str(settings.pop("name")))
        plan = MeasuringPlan.from_json(request["plan"])
        if request["latency"] == CONCURRENT:
            return self._open_concurrent(executes.open_concurrent(Path(request["artifact"]), settings), tile, plan)
        began = time.perf_counter()
        self._session = executes.open(Path(request["artifact"]), settings)
        loaded = time.perf_counter()
        outputs = self._session.run(tile)
        first_call_s = time.perf_counter() - loaded
        check_outputs(self._pipeline, tile, outputs)
        timed = {"call": lambda: lambda: self._session.run(tile), "tile": self._tile_call, "case": self._case_call}
        self._timed = timed[request["latency"]]()
        warmups_s, steady = settle(self._timed, plan)
        self._call_s = stats.quantile(warmups_s[-MeasuringPlan.window :], 0.25)
        return {
            "load_s": loaded - began,
            "first_call_s": first_call_s,
            "warmups_s": warmups_s,
            "steady": steady,
            "peak_rss_bytes": peak_rss_bytes(),
        }

    def _open_concurrent(self, many: Concurrent, tile: np.ndarray, plan: MeasuringPlan) -> dict[str, Any]:
        self._many = many, tile
        warmups_s, steady = settle(lambda: many.run(tile, many.requests, lambda: None), plan)
        self._call_s = stats.quantile(warmups_s[-MeasuringPlan.window :], 0.25) / many.requests
        return {"steady": steady}

    def _turn(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if self._many is not None:
            many, tile = self._many
            plan = MeasuringPlan.from_json(request["plan"])
            turn = take_concurrent_turn(partial(many.run, tile), many.requests, plan, self._call_s)
            return turn.to_json()
        return take_turn(self._timed, MeasuringPlan.from_json(request["plan"]), self._call_s).to_json()

    def _predict(self, request: Mapping[str, Any]) -> dict[str, Any]:
        index = int(request["case"])
        np.save(Path(request["folder"]) / array_name(index), self._predicted(index), allow_pickle=False)
        return {}

    def _end(self, request: Mapping[str, Any]) -> dict[str, Any]:
        opened = self._session if self._many is None else self._many[0]
        effective = opened.effective()
        opened.close()
        return {"effective": effective}

    def _tile_call(self) -> Callable[[], object]:
        """An image of one tile from its pixels to its answer: what the graph leaves to the pipeline is timed, too."""
        image = first_tile(replace(self._pipeline, in_graph="input"), self._cases)[0]
        image = image[np.newaxis] if self._pipeline.sliced else image
        # The tile is as the network sees it, so its axes are not turned again; and it is one call.
        pipeline = replace(self._pipeline, transposed=False, steps=(), mirror=())
        return lambda: predict(pipeline, self._session.run, image)

    def _case_call(self) -> Callable[[], object]:
        """A whole case through the pipeline: the one of median size stands for all."""
        sizes = [case_image(self._cases, index).size for index in range(len(case_ids(self._cases)))]
        typical = int(np.argsort(sizes, kind="stable")[len(sizes) // 2])
        return lambda: self._predicted(typical)

    def _predicted(self, index: int) -> np.ndarray:
        def run(batch: np.ndarray) -> np.ndarray:
            outputs = self._session.run(batch)
            check_outputs(self._pipeline, batch, outputs)
            return outputs

        try:
            return predict(self._pipeline, run, case_image(self._cases, index), case_affine(self._cases, index))
        except TrialError:
            raise
        except ValueError as error:
            raise BadData(f"case {case_ids(self._cases)[index]!r}: {error}", stage="predict") from error


def check_outputs(pipeline: Pipeline, batch: np.ndarray, outputs: np.ndarray) -> None:
    """Raise Numeric unless `outputs` are what the pipeline expects for `batch`: of its shape and type, and finite."""
    expected = (len(batch), *pipeline.output_shape[1:])
    if outputs.shape != expected:
        raise Numeric(f"the model must return shape {expected}, it returned {outputs.shape}", stage="measure")
    if pipeline.gives_labels and outputs.dtype != np.uint8:
        raise Numeric(f"the model must return labels in uint8, it returned {outputs.dtype}", stage="measure")
    if not pipeline.gives_labels and not np.isfinite(outputs).all():
        count = int(outputs.size - np.isfinite(outputs).sum())
        message = f"the model must return finite numbers, {count} of {outputs.size} are NaN or infinite"
        raise Numeric(message, stage="measure")
    if (problem := probability_problem(pipeline, outputs)) is not None:
        raise Numeric(f"the model {problem}", stage="measure")


def first_tile(pipeline: Pipeline, cases: Path) -> np.ndarray:
    """The first tile of the first case, of `pipeline.input_shape`. Raises BadData naming the case."""
    try:
        tiles, _ = pipeline.cut(case_image(cases, 0), case_affine(cases, 0))
    except ValueError as error:
        raise BadData(f"case {case_ids(cases)[0]!r}: {error}", stage="measure") from error
    return next(tiles)


def peak_rss_bytes() -> int:
    """The most physical memory that this process ever held."""
    match = re.search(r"^VmHWM:\s*(\d+) kB", read_short("/proc/self/status"), flags=re.MULTILINE)
    if match:
        return int(match.group(1)) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    serve(Worker().handlers())

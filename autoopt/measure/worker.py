"""The child that measures: numpy, one runtime and the inference pipeline, nothing else.

One job: load (timed), first call (timed), warm-up and rounds on a real tile, peak memory, what really
ran, and, if asked, the predictions of all cases as arrays in a folder.
"""

from __future__ import annotations

import re
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.errors import BadData, Numeric, TrialError
from autoopt.infer import Pipeline, predict
from autoopt.measure.files import array_name, case_ids
from autoopt.measure.timing import Plan, time_calls
from autoopt.process import serve
from autoopt.records import Scalar
from autoopt.runtimes import runtime
from autoopt.runtimes.base import Session


def handle(job: dict[str, Any]) -> Mapping[str, Any]:
    """Do one job; its keys are those that `launcher.measure` writes.

    Raises Unsupported, Numeric or BadData.
    """
    pipeline = Pipeline.from_json(job["pipeline"])
    cases = Path(job["cases"])
    tile = _first_tile(pipeline, cases)
    settings: dict[str, Scalar] = dict(job["runtime"])
    executes = runtime(str(settings.pop("name")))
    began = time.perf_counter()
    session = executes.open(Path(job["artifact"]), settings)
    try:
        loaded = time.perf_counter()
        outputs = session.run(tile)
        first_call_s = time.perf_counter() - loaded
        check_outputs(pipeline, tile, outputs)
        timing = time_calls(lambda: session.run(tile), Plan.from_json(job["plan"]))
        reply: dict[str, Any] = {
            "load_s": loaded - began,
            "first_call_s": first_call_s,
            "calls_s": timing.calls_s,
            "warmups_s": timing.warmups_s,
            "cpu_s": timing.cpu_s,
            "doubts": timing.doubts,
            "peak_rss_bytes": peak_rss_bytes(),  # before anything that only this inspection needs
        }
        if job["examine"]:
            reply["effective"] = session.effective()
        if job["predictions"] is not None:
            _predict_all(pipeline, session, cases, Path(job["predictions"]))
    finally:
        session.close()
    return reply


def check_outputs(pipeline: Pipeline, batch: np.ndarray, outputs: np.ndarray) -> None:
    """Raise Numeric unless `outputs` are finite and of the shape that the pipeline expects for `batch`."""
    tail = pipeline.tile if pipeline.task == "segmentation" else ()
    expected = (len(batch), pipeline.classes, *tail)
    if outputs.shape != expected:
        raise Numeric(f"the model must return shape {expected}, it returned {outputs.shape}", stage="measure")
    if not np.isfinite(outputs).all():
        count = int(outputs.size - np.isfinite(outputs).sum())
        message = f"the model must return finite numbers, {count} of {outputs.size} are NaN or infinite"
        raise Numeric(message, stage="measure")


def peak_rss_bytes() -> int:
    """The most physical memory this process ever held."""
    status = Path("/proc/self/status")
    if status.exists():
        match = re.search(r"^VmHWM:\s*(\d+) kB", status.read_text(), flags=re.MULTILINE)
        if match:
            return int(match.group(1)) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _first_tile(pipeline: Pipeline, cases: Path) -> np.ndarray:
    """The first tile of the first case, float32 (1, channels, *tile)."""
    name = case_ids(cases)[0]
    try:
        tiles, _ = pipeline.prepare(_image(cases, 0))
    except ValueError as error:
        raise BadData(f"case {name!r}: {error}", stage="measure") from error
    return np.ascontiguousarray(tiles[:1])


def _predict_all(pipeline: Pipeline, session: Session, cases: Path, folder: Path) -> None:
    def run(batch: np.ndarray) -> np.ndarray:
        outputs = session.run(batch)
        check_outputs(pipeline, batch, outputs)
        return outputs

    for index, name in enumerate(case_ids(cases)):
        try:
            prediction = predict(pipeline, run, _image(cases, index))
        except TrialError:
            raise
        except ValueError as error:
            raise BadData(f"case {name!r}: {error}", stage="predict") from error
        np.save(folder / array_name(index), prediction, allow_pickle=False)


def _image(cases: Path, index: int) -> np.ndarray:
    image: np.ndarray = np.load(cases / array_name(index), allow_pickle=False)
    return image


if __name__ == "__main__":
    serve(handle)

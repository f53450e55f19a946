"""The child process in which a bundle's graph answers its golden inputs and is timed beside the probe.

Its requests: `open` the graph; `answer` one image, as it is or shaken; `time` calls and probe in turns; `effective`,
the settings that really ran.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.core import stats
from autoopt.core.configuration import Scalar
from autoopt.core.packages import how_to_install
from autoopt.core.process import Handler, serve
from autoopt.deploy.goldens import sampled, shaken
from autoopt.errors import BadData, BundleError
from autoopt.inference.pipeline import Pipeline, predict
from autoopt.inference.runtimes import runtime
from autoopt.inference.runtimes.base import Session
from autoopt.measure.probe import Probe, repeats_for
from autoopt.measure.timing import MeasuringPlan, settle, take_turn


class SelfTest:
    """What this process has open: self_test.py writes the requests."""

    def __init__(self) -> None:
        self._session: Session
        self._pipeline: Pipeline
        self._threads = 1
        self._tile: np.ndarray | None = None

    def handlers(self) -> dict[str, Handler]:
        """The table of its requests. They raise Unsupported, BundleError or BadData."""
        return {"open": self._open, "answer": self._answer, "time": self._time, "effective": self._effective}

    def _open(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self._pipeline = Pipeline.from_json(request["pipeline"])
        settings: dict[str, Scalar] = dict(request["runtime"])
        name = str(settings.pop("name"))
        executes = runtime(name)
        self._threads = int(settings.get("threads") or 1)
        try:
            self._session = executes.open(Path(request["model"]), settings)
        except ImportError as error:
            package = executes.DISTRIBUTION or name
            raise BundleError(
                f"the bundle needs {name}, which cannot be imported ({error}): pip install {how_to_install(package)}"
            ) from error
        return {}

    def _answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        folder, name = Path(request["folder"]), str(request["name"])
        image = np.load(folder / f"{name}.npy", allow_pickle=False)
        affine = None if request["affine"] is None else np.asarray(request["affine"], np.float64)
        outputs: list[np.ndarray] = []

        def run(batch: np.ndarray) -> np.ndarray:
            if self._tile is None:
                self._tile = batch
            output = np.asarray(self._session.run(shaken(batch) if request["shaken"] else batch))
            outputs.append(sampled(output))
            return output

        try:
            answer = predict(self._pipeline, run, image, affine)
        except ValueError as error:
            raise BadData(f"the golden input {name}: {error}") from error
        np.save(folder / f"{name}-output.npy", outputs[0], allow_pickle=False)
        np.save(folder / f"{name}-answer.npy", answer, allow_pickle=False)
        return {}

    def _time(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Turns of the model and of the probe, in random order within each round, once both are steady.

        The probe is repeated as often as the request says; where it says nothing, to take as long as the model.
        """
        plan, tile = MeasuringPlan.from_json(request["plan"]), self._tile
        assert tile is not None  # an image was answered first
        once = Probe(self._threads)
        calls: dict[str, Callable[[], object]] = {"model": lambda: self._session.run(tile), "probe": once}
        usual_s = {}
        for name, call in calls.items():
            warmups_s, _ = settle(call, plan)
            usual_s[name] = stats.quantile(warmups_s[-plan.window :], plan.quantile)
        once.close()
        repeats = int(request["repeats"] or repeats_for(usual_s["model"], usual_s["probe"]))
        probe = Probe(self._threads, repeats)
        calls["probe"], usual_s["probe"] = probe, repeats * usual_s["probe"]
        order = random.Random(int(request["seed"]))  # noqa: S311 - an order, not a secret
        turns: dict[str, list[list[float]]] = {name: [] for name in calls}
        for _ in range(plan.rounds):
            for name in order.sample(sorted(calls), len(calls)):
                turns[name].append(list(take_turn(calls[name], plan, usual_s[name]).calls_s))
        probe.close()
        return {**turns, "repeats": repeats}

    def _effective(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"effective": self._session.effective()}


if __name__ == "__main__":
    serve(SelfTest().handlers())

"""A runtime for tests: the latency, the error and the failure are settings.

The artifact is a folder with fake.json: {"classes": k, "threshold": 0.0, "task": "segmentation",
"layers": [...], "pipeline": {...}}; all but the first may be left out. Class 1 is where the first channel is larger
than the threshold (its mean, for classification). The layers are what `profile` tells, each a `Layer` as JSON. Of the
pipeline it does itself what `in_graph` names.
"""

from __future__ import annotations

import json
import os
import signal
import time
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.errors import Unsupported
from autoopt.inference.formats.fake import FILE
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.postprocess import largest_of
from autoopt.inference.runtimes.concurrent import Callers
from autoopt.inference.runtimes.layers import Layer
from autoopt.inference.runtimes.shared import (
    PRECISION,
    THREADS,
    has_bf16,
    has_f16,
    int8_weight_bits,
    model_file,
    refusals,
    whole,
)
from autoopt.inference.runtimes.shared import canonical as canonical_settings

FORMAT = "fake"
DISTRIBUTION: str | None = None
FAILURES = ("segfault", "abort", "hang", "oom", "nan", "shape", "raise", "unsupported")
PARAMETERS: Mapping[str, Parameter] = {
    "precision": PRECISION,
    "threads": THREADS,
    "latency_ms": Parameter("number", 1.0, "Milliseconds that one call takes.", low=0, high=60000),
    "error": Parameter("number", 0.0, "Fraction of the pixels (or cases) that are wrong.", low=0, high=1),
    "failure": Parameter("choice", None, "What goes wrong when it runs.", FAILURES, nullable=True),
}
SCHEMES: tuple[str, ...] = ("int8", "int8-weights", "int4-weights")
"""All that a space may ask for: no scheme changes what it does."""
weight_bits = int8_weight_bits
_SPIN_BELOW_S = 1e-3  # sleep() overshoots by tens of microseconds
_LOGIT = 4.0


def precisions(host: Host) -> tuple[str, ...]:
    """As a real runtime's: f32, and what the host multiplies in hardware."""
    return ("f32", *(["bf16"] if has_bf16(host) else []), *(["f16"] if has_f16(host) else []))


def canonical(settings: Mapping[str, Scalar], host: Host) -> dict[str, Scalar]:
    """See `runtimes.base.Runtime`."""
    return canonical_settings(settings, host, PARAMETERS, precisions(host))


def open(folder: Path, settings: Mapping[str, Scalar]) -> Session:  # noqa: A001 - the contract's name
    """Read fake.json. Raises Unsupported when it makes no sense."""
    return Session(folder, settings)


def open_concurrent(folder: Path, settings: Mapping[str, Scalar]) -> Callers:
    """One caller for each thread: so many calls take the latency of one.

    Raises Unsupported as `open` does.
    """
    session, threads = Session(folder, settings), whole(settings.get("threads"))
    return Callers([session.run] * threads, {"streams": threads, "threads": threads}, session.close)


class Session:
    """A threshold on the first channel."""

    def __init__(self, folder: Path, settings: Mapping[str, Scalar]) -> None:
        path = model_file(folder, FILE)
        with refusals("the fake runtime", folder):
            content = json.loads(path.read_text())
            self._classes = int(content["classes"])
            self._threshold = float(content.get("threshold", 0.0))
            self._segments = content.get("task", "segmentation") == "segmentation"
            self._layers = [Layer.from_json(item) for item in content.get("layers", ())]
            self._pipeline = Pipeline.from_json(content["pipeline"]) if "pipeline" in content else None
        self._settings = {**{name: item.default for name, item in PARAMETERS.items()}, **settings}

    def run(self, batch: np.ndarray) -> np.ndarray:
        """See `runtimes.base.Session`; fails as the settings say."""
        _spend(float(self._settings["latency_ms"] or 0.0) / 1e3)
        failure = self._settings["failure"]
        if failure is not None:
            _fail(str(failure))
        inside = self._pipeline
        if inside is not None:
            batch = np.stack([inside.normalise(image) for image in batch])
        first = batch[:, 0]
        positive = (
            first > self._threshold if self._segments else first.reshape(len(batch), -1).mean(1) > self._threshold
        )
        positive ^= self._wrong(batch, positive.shape)
        outputs = np.zeros((len(batch), self._classes, *positive.shape[1:]), np.float32)
        outputs[:, 0] = np.where(positive, 0.0, _LOGIT)
        outputs[:, 1] = np.where(positive, _LOGIT, 0.0)
        if failure == "nan":
            outputs[...] = np.nan
        if inside is not None and inside.gives_labels:
            outputs = np.stack([largest_of(logits) for logits in outputs])
        return outputs[..., :-1] if failure == "shape" else outputs

    def effective(self) -> dict[str, Scalar]:
        """The settings, as if all of them had taken effect."""
        return {
            "precision": self._settings["precision"],
            "threads": self._settings["threads"],
            "streams": 1,
            "kernels": "fake:1",
            "low_precision_share": 0.0,
        }

    def profile(self, batch: np.ndarray, calls: int) -> list[Layer]:
        """The layers of fake.json; without any a single one that takes the latency of the settings."""
        for _ in range(calls):
            self.run(batch)
        seconds = float(self._settings["latency_ms"] or 0.0) / 1e3
        precision = str(self._settings["precision"])
        return self._layers or [Layer("threshold", "Threshold", "fake", precision, seconds)]

    def close(self) -> None:
        """Nothing to release."""

    def _wrong(self, batch: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The same pattern for every image: a hash of the pixel's place (of the image, for classification)."""
        if self._segments:
            places = np.arange(int(np.prod(shape[1:])), dtype=np.uint64)
            hashes = (places * np.uint64(2654435761) % np.uint64(2**32)).reshape(shape[1:])
        else:
            hashes = np.array([zlib.crc32(np.ascontiguousarray(image).tobytes()) for image in batch], np.uint64)
        wrong: np.ndarray = hashes.astype(np.float64) / 2**32 < float(self._settings["error"] or 0.0)
        return wrong


def _spend(seconds: float) -> None:
    if seconds >= _SPIN_BELOW_S:
        time.sleep(seconds)
        return
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def _fail(failure: str) -> None:
    if failure == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif failure == "abort":
        os.abort()
    elif failure == "hang":
        while True:
            time.sleep(3600)
    elif failure == "oom":
        raise MemoryError("the fake runtime was told to run out of memory")
    elif failure == "raise":
        raise RuntimeError("the fake runtime was told to raise")
    elif failure == "unsupported":
        raise Unsupported("the fake runtime was told to refuse the model")

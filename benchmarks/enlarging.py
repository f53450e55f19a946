"""What it costs to enlarge the answer of a coarse network: by products of matrices, and by interpolation.

    python -m benchmarks.enlarging [--calls 400] [--json FILE]

A 3 x 3 convolution over 16 channels and a head of five classes at a half and at a quarter of 224 x 224, on two threads;
graphs that answer at that size, and at the whole one in both ways, are called in turn. Milliseconds are p25.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.measure.host import current_host
from autoopt.nets import resolution

TILE = (224, 224)
CHANNELS, CLASSES, THREADS, TRIES = 16, 5, 2, 20
WAYS = ("none", "interpolation", "products")
PRECISIONS = ("f32", "bf16")


def main() -> None:
    """Call and print every kind."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--calls", type=int, default=400)
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    rows = []
    for factor in (2, 4):
        image = np.random.default_rng(0).standard_normal((1, CHANNELS, *(size // factor for size in TILE)))
        graphs = {way: _graph(factor, way) for way in WAYS}
        for kind, runners in _kinds(graphs):
            times = _timed(runners, image.astype(np.float32), given.calls)
            rows.append({"factor": factor, "kind": kind, **times})
            print(f"{factor}  {kind:16}", *(f"{way} {item:.3f} ms" for way, item in times.items()), flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps({"host": current_host().fingerprint, "rows": rows}, indent=1))


def _graph(factor: int, way: str) -> bytes:
    """The end of a coarse network as an ONNX model."""

    import torch

    class End(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = torch.nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)
            self.head = torch.nn.Conv2d(CHANNELS, CLASSES, 1)
            small = [size // factor for size in TILE]
            self.rows, self.columns = resolution.shares(small, TILE)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.head(torch.relu(self.body(batch)))
            if way == "interpolation":
                return resolution.interpolated(answer, TILE)
            return resolution.enlarged(answer, [self.rows, self.columns]) if way == "products" else answer

    torch.manual_seed(0)
    example = torch.zeros(1, CHANNELS, *(size // factor for size in TILE))
    program = torch.onnx.export(End().eval(), (example,), dynamo=True, verbose=False)
    assert program is not None
    graph: bytes = program.model_proto.SerializeToString()
    return graph


def _infer(request: Any, image: np.ndarray) -> Any:
    return request.infer({0: image}, share_inputs=True, share_outputs=True)


def _run(session: Any, image: np.ndarray) -> Any:
    return session.run(None, {session.get_inputs()[0].name: image})


def _kinds(graphs: dict[str, bytes]) -> Iterator[tuple[str, dict[str, Callable[[np.ndarray], Any]]]]:
    import onnxruntime
    import openvino

    core, bf16 = openvino.Core(), "avx512_bf16" in current_host().isa
    for precision in PRECISIONS if bf16 else PRECISIONS[:1]:
        settings = {"INFERENCE_NUM_THREADS": THREADS, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": precision}
        requests = {
            way: core.compile_model(core.read_model(graph), "CPU", settings).create_infer_request()
            for way, graph in graphs.items()
        }
        yield (
            f"OpenVINO {precision}",
            {way: partial(_infer, request) for way, request in requests.items()},
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the others' threads would take the cores
    sessions = {way: onnxruntime.InferenceSession(graph, options) for way, graph in graphs.items()}
    yield (
        "ONNX Runtime f32",
        {way: partial(_run, session) for way, session in sessions.items()},
    )


def _timed(runners: dict[str, Callable[[np.ndarray], Any]], image: np.ndarray, calls: int) -> dict[str, float]:
    """The p25 of each in milliseconds; every `TRIES` calls another has its turn."""
    times: dict[str, list[float]] = {way: [] for way in runners}
    for _ in range(calls // TRIES):
        for way, run in runners.items():
            for _ in range(TRIES):
                began = time.perf_counter()
                run(image)
                times[way].append(time.perf_counter() - began)
    return {way: float(np.percentile(items, 25)) * 1e3 for way, items in times.items()}


if __name__ == "__main__":
    main()

"""ONNX Runtime on the CPU provider."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.core.scratch import scratch_folder
from autoopt.inference.formats.onnx import FILE
from autoopt.inference.formats.onnx_file import check_onnx_file
from autoopt.inference.runtimes.concurrent import Callers
from autoopt.inference.runtimes.layers import Layer, over_calls, precision_of
from autoopt.inference.runtimes.shared import (
    PRECISION,
    THREADS,
    int8_weight_bits,
    listing,
    model_file,
    refusals,
    share,
    whole,
)
from autoopt.inference.runtimes.shared import canonical as canonical_settings

FORMAT = "onnx"
TITLE, INITIALS = "ONNX Runtime", "ORT"
DISTRIBUTION: str | None = "onnxruntime"
PARAMETERS: Mapping[str, Parameter] = {
    "precision": PRECISION,
    "threads": THREADS,
    "spinning": Parameter("flag", True, "Whether idle threads spin, which is faster and costs CPU time."),
}
SCHEMES: tuple[str, ...] = ("int8",)
"""With integer weights and float activations it would compute the same as in float."""
weight_bits = int8_weight_bits
_INTEGER_OPERATORS = ("QLinear", "ConvInteger", "MatMulInteger", "DynamicQuantize", "QGemm", "QAttention")
_CONVERSIONS = frozenset(
    {
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "Cast",
        "ReorderInput",
        "ReorderOutput",
        "MemcpyFromHost",
        "MemcpyToHost",
    }
)
"""Operators that change number format or layout; ONNX Runtime inserts the reorders around its blocked layout."""
_TIMED = "_kernel_time"
_PROFILED_CALLS = 3


def precisions(host: Host) -> tuple[str, ...]:
    """f32 only: the CPU provider has no bf16 or f16 convolutions."""
    return ("f32",)


def canonical(settings: Mapping[str, Scalar], host: Host) -> dict[str, Scalar]:
    """See `runtimes.base.Runtime`; a single thread waits for no other, so spinning has no effect."""
    result = canonical_settings(settings, host, PARAMETERS, precisions(host))
    return {**result, "spinning": True} if result["threads"] == 1 else result


def open(folder: Path, settings: Mapping[str, Scalar]) -> Session:  # noqa: A001 - the contract's name
    """Load the ONNX graph. Raises Unsupported when the library refuses it."""
    return Session(folder, settings)


def open_concurrent(folder: Path, settings: Mapping[str, Scalar]) -> Callers:
    """One session that as many callers use at once as there are threads, each computing by itself.

    Raises Unsupported when the library refuses it.
    """
    session, threads = Session(folder, {**settings, "threads": 1}), whole(settings.get("threads"))
    return Callers([session.run] * threads, {"streams": threads, "threads": threads}, session.close)


class Session:
    """An inference session, and the settings that a second, profiled one is made with."""

    def __init__(self, folder: Path, settings: Mapping[str, Scalar]) -> None:
        self._path = model_file(folder, FILE)
        self._settings = dict(settings)
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        with refusals("ONNX Runtime", folder):
            check_onnx_file(self._path)
            before = _os_threads()
            self._session: Any = self._create(None)
            self._pool = _os_threads() - before
            (inputs,) = self._session.get_inputs()
            self._input = inputs.name
        self._batch: np.ndarray | None = None

    def run(self, batch: np.ndarray) -> np.ndarray:
        """See `runtimes.base.Session`."""
        self._batch = batch
        result: np.ndarray = self._session.run(None, {self._input: batch})[0]
        return result

    def effective(self) -> dict[str, Scalar]:
        """The threads the pool really started and the operators of the optimised graph that ran."""
        events = [] if self._batch is None else self._profiled(self._batch, _PROFILED_CALLS)
        operators = [str(event["args"]["op_name"]) for event in events]
        times = [
            (float(event["dur"]), name.startswith(_INTEGER_OPERATORS))
            for event, name in zip(events, operators, strict=True)
        ]
        asked = self._session.get_session_options().intra_op_num_threads
        return {
            "precision": "f32",
            # The calling thread works too, so the pool is one smaller. Elsewhere only the option can be read.
            "threads": self._pool + 1 if sys.platform == "linux" else asked,
            "streams": 1,
            "kernels": listing(operators[: len(operators) // _PROFILED_CALLS]),
            "low_precision_share": share(times),
        }

    def profile(self, batch: np.ndarray, calls: int) -> list[Layer]:
        """See `runtimes.base.Session`; the precision of an operator is that of its first input."""
        events = self._profiled(batch, calls + 1)
        each = len(events) // (calls + 1)
        layers = [_layer(event) for event in events[each:]]  # the first call packs weights and fills the memory pool
        return over_calls(layers[start : start + each] for start in range(0, len(layers), max(each, 1)))

    def close(self) -> None:
        """Release the model."""
        self._session = None

    def _create(self, profile: Path | None) -> Any:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = whole(self._settings.get("threads"))
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        spinning = self._settings.get("spinning", True)
        options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
        if profile is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(profile)
        return onnxruntime.InferenceSession(self._path, options, providers=["CPUExecutionProvider"])

    def _profiled(self, batch: np.ndarray, calls: int) -> list[dict[str, Any]]:
        """Node events of a few calls, in order, from a session of their own: profiling slows a session down."""
        with scratch_folder() as folder:
            session = self._create(folder / "profile")
            for _ in range(calls):
                session.run(None, {self._input: batch})
            events = json.loads(Path(session.end_profiling()).read_text())
        return [event for event in events if event.get("cat") == "Node" and event["name"].endswith(_TIMED)]


def _layer(event: Mapping[str, Any]) -> Layer:
    operator, name = str(event["args"]["op_name"]), str(event["name"]).removesuffix(_TIMED)
    inputs = [kind for item in event["args"].get("input_type_shape", ()) for kind in item]
    blocked = "_nchwc" if name.endswith("_nchwc") else ""  # its name is all that tells the blocked layout
    kernel = "_".join([operator + blocked, *inputs[:1]])
    precision = "i8" if operator.startswith(_INTEGER_OPERATORS) else precision_of(inputs[:1])
    return Layer(name, operator, kernel, precision, float(event["dur"]) / 1e6, operator in _CONVERSIONS)


def _os_threads() -> int:
    tasks = Path("/proc/self/task")
    return sum(1 for _ in tasks.iterdir()) if tasks.is_dir() else 0

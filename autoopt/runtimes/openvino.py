"""OpenVINO on the CPU plugin, every setting that decides speed or accuracy pinned and read back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.parameters import Parameter
from autoopt.records import Host, Scalar
from autoopt.runtimes.shared import (
    PRECISION,
    STREAMS,
    THREADS,
    has_bf16,
    has_f16,
    listing,
    model_file,
    refusals,
    share,
    whole,
)
from autoopt.runtimes.shared import canonical as canonical_settings

NAME = "openvino"
FORMAT = "openvino"
DISTRIBUTION: str | None = "openvino"
PARAMETERS: Mapping[str, Parameter] = {"precision": PRECISION, "threads": THREADS, "streams": STREAMS}
MODEL = "model.xml"
_NAMES = {"f32": "f32", "float32": "f32", "bf16": "bf16", "bfloat16": "bf16", "f16": "f16", "float16": "f16"}
_LOW_PRECISION = ("_i8", "_u8", "_bf16", "_f16")
_PROFILED_CALLS = 3


def precisions(host: Host) -> tuple[str, ...]:
    """f32, and bf16 / f16 where the CPU plugin has kernels; on arm64 it has none for bf16."""
    bf16 = has_bf16(host) and host.arch.lower() not in ("aarch64", "arm64")
    return ("f32", *(["bf16"] if bf16 else []), *(["f16"] if has_f16(host) else []))


def canonical(settings: Mapping[str, Scalar], host: Host) -> dict[str, Scalar]:
    """See `runtimes.base.Runtime`; streams are no more than the threads."""
    return canonical_settings(settings, host, PARAMETERS, precisions(host))


def open(folder: Path, settings: Mapping[str, Scalar]) -> Session:  # noqa: A001 - the contract's name
    """Compile model.xml. Raises Unsupported when the library refuses it."""
    return Session(folder, settings)


class Session:
    """A compiled model and one request."""

    def __init__(self, folder: Path, settings: Mapping[str, Scalar]) -> None:
        self._path = model_file(folder, MODEL)
        # Without the hint, hosts with AMX or AVX512-BF16 silently run float models in bf16.
        self._properties: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": str(settings.get("precision", "f32")),
            "INFERENCE_NUM_THREADS": whole(settings.get("threads")),
            "NUM_STREAMS": whole(settings.get("streams")),
        }
        with refusals("OpenVINO", folder):
            self._model: Any = self._compile({})
            self._request: Any = self._model.create_infer_request()
        self._batch: np.ndarray | None = None

    def run(self, batch: np.ndarray) -> np.ndarray:
        """See `runtimes.base.Session`."""
        self._batch = batch
        self._request.infer({0: batch}, share_inputs=True)
        result: np.ndarray = self._request.get_output_tensor(0).data.copy()
        return result

    def effective(self) -> dict[str, Scalar]:
        """What the plugin made of the settings, and the executed kernel types from a second, profiled model."""
        precision = self._model.get_property("INFERENCE_PRECISION_HINT")
        name = precision.get_type_name() if hasattr(precision, "get_type_name") else str(precision)
        kernels, low_precision_share = self._profile()
        return {
            "precision": _NAMES.get(name, name),
            "threads": int(self._model.get_property("INFERENCE_NUM_THREADS")),
            "streams": int(self._model.get_property("NUM_STREAMS")),
            "kernels": kernels,
            "low_precision_share": low_precision_share,
        }

    def close(self) -> None:
        """Release the model."""
        self._request = self._model = None

    def _compile(self, extra: Mapping[str, Any]) -> Any:
        import openvino

        core = openvino.Core()
        return core.compile_model(core.read_model(self._path), "CPU", {**self._properties, **extra})

    def _profile(self) -> tuple[str | None, float | None]:
        if self._batch is None:
            return None, None
        request = self._compile({"PERF_COUNT": True}).create_infer_request()
        times: list[tuple[float, bool]] = []
        executed: list[str] = []
        for _ in range(_PROFILED_CALLS):
            request.infer({0: self._batch}, share_inputs=True)
            nodes = [node for node in request.profiling_info if node.status == node.Status.EXECUTED]
            executed = [node.exec_type.lower() for node in nodes]  # it writes I8 and i8
            low = [kernel.endswith(_LOW_PRECISION) for kernel in executed]
            times += [(node.real_time.total_seconds(), is_low) for node, is_low in zip(nodes, low, strict=True)]
        return listing(executed), share(times)

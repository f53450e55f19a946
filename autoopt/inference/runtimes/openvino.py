"""OpenVINO on the CPU plugin, every setting that decides speed or accuracy pinned and read back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.core.plain_text import short
from autoopt.errors import Unsupported
from autoopt.inference import silent
from autoopt.inference.formats.loops import check_count
from autoopt.inference.formats.names import is_counted
from autoopt.inference.formats.openvino import FILE
from autoopt.inference.pipeline_checks import MOST_VALUES
from autoopt.inference.runtimes.concurrent import Callers
from autoopt.inference.runtimes.layers import Layer, over_calls, precision_of
from autoopt.inference.runtimes.shared import (
    PRECISION,
    STREAMS,
    THREADS,
    has_bf16,
    has_f16,
    int8_weight_bits,
    listing,
    model_file,
    refusals,
    share,
    whole,
)
from autoopt.inference.runtimes.shared import canonical as canonical_settings

FORMAT = "openvino"
TITLE, INITIALS = "OpenVINO", "OV"
DISTRIBUTION: str | None = "openvino"
PARAMETERS: Mapping[str, Parameter] = {"precision": PRECISION, "threads": THREADS, "streams": STREAMS}
SCHEMES: tuple[str, ...] = ("int8", "int8-weights", "int4-weights")
weight_bits = int8_weight_bits
_NAMES = {"f32": "f32", "float32": "f32", "bf16": "bf16", "bfloat16": "bf16", "f16": "f16", "float16": "f16"}
_LOW_PRECISION = ("_i8", "_u8", "_bf16", "_f16")
_CONVERSIONS = frozenset({"Reorder", "Convert", "FakeQuantize", "Quantize", "Dequantize"})
_PLUMBING = _CONVERSIONS | {"Transpose", "Reshape"}
"""Operations that do no work of the network where the plugin inserted them."""
_PROFILED_CALLS = 3


def precisions(host: Host) -> tuple[str, ...]:
    """f32, and bf16 / f16 where the CPU plugin has kernels; on arm64 it has none for bf16."""
    bf16 = has_bf16(host) and host.arch.lower() not in ("aarch64", "arm64")
    return ("f32", *(["bf16"] if bf16 else []), *(["f16"] if has_f16(host) else []))


def canonical(settings: Mapping[str, Scalar], host: Host) -> dict[str, Scalar]:
    """See `runtimes.base.Runtime`; streams are no more than the threads."""
    return canonical_settings(settings, host, PARAMETERS, precisions(host))


def open(folder: Path, settings: Mapping[str, Scalar]) -> Session:  # noqa: A001 - the contract's name
    """Compile the OpenVINO graph. Raises Unsupported when the library refuses it."""
    return Session(folder, settings)


def open_concurrent(folder: Path, settings: Mapping[str, Scalar]) -> Callers:
    """Compile the graph for throughput: as many streams as the plugin finds best for the threads, or those asked for.

    Each of the requests that it asks for is started and waited for by a thread of its own: the callbacks of the
    library's queue can wait for Python's lock forever. Raises Unsupported when the library refuses the graph.
    """
    streams = whole(settings.get("streams"))
    properties = {
        "PERFORMANCE_HINT": "THROUGHPUT",
        "INFERENCE_PRECISION_HINT": str(settings.get("precision", "f32")),
        "INFERENCE_NUM_THREADS": whole(settings.get("threads")),
        **({"NUM_STREAMS": streams} if streams > 1 else {}),
    }
    with refusals("OpenVINO", folder):
        model = compiled(model_file(folder, FILE), properties)
        count = int(model.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        calls = [partial(_started, model.create_infer_request()) for _ in range(count)]
        names = {"streams": "NUM_STREAMS", "threads": "INFERENCE_NUM_THREADS"}
        effective = {name: int(model.get_property(key)) for name, key in names.items()}
    return Callers(calls, effective, lambda: None)


def _started(request: Any, batch: np.ndarray) -> None:
    request.start_async({0: batch}, share_inputs=True)
    request.wait()


class Session:
    """A compiled model and one request."""

    def __init__(self, folder: Path, settings: Mapping[str, Scalar]) -> None:
        self._path = model_file(folder, FILE)
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
        calls = (
            [] if self._batch is None else _executed(self._compile({"PERF_COUNT": True}), self._batch, _PROFILED_CALLS)
        )
        kernels = [_kernel(node) for node in calls[-1]] if calls else []
        executed = [node for nodes in calls for node in nodes]
        times = [(node.real_time.total_seconds(), _kernel(node).endswith(_LOW_PRECISION)) for node in executed]
        return {
            "precision": _NAMES.get(name, name),
            "threads": int(self._model.get_property("INFERENCE_NUM_THREADS")),
            "streams": int(self._model.get_property("NUM_STREAMS")),
            "kernels": listing(kernels),
            "low_precision_share": share(times),
        }

    def profile(self, batch: np.ndarray, calls: int) -> list[Layer]:
        """See `runtimes.base.Session`: a second, profiled model, and what it tells of its fused layers."""
        compiled = self._compile({"PERF_COUNT": True})
        executed = _executed(compiled, batch, calls + 1)[1:]  # the first call packs weights
        facts = {
            node.get_friendly_name(): {key: value.astype(str) for key, value in node.get_rt_info().items()}
            for node in compiled.get_runtime_model().get_ordered_ops()
        }
        types = self._types()
        layers = over_calls(
            [_layer(node, facts.get(node.node_name, {}), types) for node in nodes] for nodes in executed
        )
        return sorted(layers, key=lambda layer: int(facts.get(layer.name, {}).get("execOrder") or 0))

    def close(self) -> None:
        """Release the model."""
        self._request = self._model = None

    def _compile(self, extra: Mapping[str, Any]) -> Any:
        return compiled(self._path, {**self._properties, **extra})

    def _types(self) -> dict[str, str]:
        """The operation of every node of the artifact, by name."""
        openvino = silent.openvino()

        model = openvino.Core().read_model(self._path)
        return {node.get_friendly_name(): node.get_type_name() for node in model.get_ordered_ops()}


def compiled(path: Path, properties: Mapping[str, Any]) -> Any:
    """The graph in `path`, compiled for the CPU with these properties.

    Raises Unsupported for a loop without an end and for a tensor that no host could hold.
    """
    openvino = silent.openvino()

    core = openvino.Core()
    model = core.read_model(path)
    _check_loops(model)
    _check_sizes(model, path)
    return core.compile_model(model, "CPU", dict(properties))


def _check_loops(model: Any, outer: int = 1) -> None:
    """Raise Unsupported for a loop that may never end."""
    for node in model.get_ops():
        if node.get_type_name() == "Loop":
            count = node.input_value(0).get_node()
            numbers = [int(item) for item in count.get_vector()] if count.get_type_name() == "Constant" else []
            known = numbers[0] if len(numbers) == 1 and numbers[0] >= 0 else None
            _check_loops(node.get_function(), check_count(known, outer))


def _check_sizes(model: Any, path: Path) -> None:
    """Raise Unsupported for a tensor of more values than a host could hold."""
    for node in model.get_ops():
        for output in node.outputs():
            shape = output.get_partial_shape()
            if shape.is_static and math.prod(int(size.get_length()) for size in shape) > MOST_VALUES:
                name = short(node.get_friendly_name())
                raise Unsupported(
                    f"a tensor must have at most {MOST_VALUES:g} values, {name} in {path.name} has the shape "
                    f"{short(str(shape))}: do not use it"
                )


def _executed(compiled: Any, batch: np.ndarray, calls: int) -> list[list[Any]]:
    """The nodes that ran, with their times, of each of a few calls of a model with performance counters."""
    request = compiled.create_infer_request()
    result = []
    for _ in range(calls):
        request.infer({0: batch}, share_inputs=True)
        result.append([node for node in request.profiling_info if node.status == node.Status.EXECUTED])
    return result


def _kernel(node: Any) -> str:
    return str(node.exec_type).lower()  # it writes I8 and i8


def _layer(node: Any, facts: Mapping[str, str], types: Mapping[str, str]) -> Layer:
    kernel, name = _kernel(node), str(node.node_name)
    origins = tuple(item for item in facts.get("originalLayersNames", "").split(",") if item)
    precision = precision_of([kernel.rpartition("_")[2], facts.get("runtimePrecision", "")])
    kind = str(node.node_type)
    conversion = _is_conversion(kind, origins or (name,), types)
    if conversion and kind == "Subgraph":  # of one or more quantizers: say so
        kind = next((types[item] for item in origins if types.get(item) in _CONVERSIONS), kind)
    return Layer(name, kind, kernel, precision, node.real_time.total_seconds(), conversion, origins)


def _is_conversion(kind: str, origins: Sequence[str], types: Mapping[str, str]) -> bool:
    """Whether a node only changes format or layout: by its type, or because nothing else was fused in it.

    A quantizer may run as a `Subgraph`; a `Transpose` of the network's own is work, an inserted one is not. Nodes that
    the plugin's own transformations made, such as a dequantization, have a counter in their name.
    """
    if kind in _CONVERSIONS:
        return True
    if kind in _PLUMBING:
        return not any(name in types for name in origins)
    if kind != "Subgraph":
        return False
    made = [types.get(name, "") for name in origins]
    quantizers = any(kind in _CONVERSIONS for kind in made) or all(map(is_counted, origins))
    return quantizers and all(
        kind in _PLUMBING or (not kind and is_counted(name)) for kind, name in zip(made, origins, strict=True)
    )

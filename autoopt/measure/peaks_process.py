"""The child process that drives a host to its peak: chains of convolutions in OpenVINO, and copies of large arrays.

Its one request is `peaks`, which peaks.py writes. What it tries takes turns, and of all calls the fastest counts: a
busy host only ever adds.
"""

from __future__ import annotations

import itertools
import os
import re
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.core.process import serve
from autoopt.core.short_file import read_short
from autoopt.inference.runtimes.layers import precision_of
from autoopt.measure.host import usable_memory_bytes
from autoopt.measure.host_load import between, snapshot

CHANNELS, KERNEL, DEPTH = 256, 3, 2
SIDES = (7, 28)
"""Small images make calls so short that a busy host does not interrupt all of them, large ones feed fast cores."""
BEYOND_CACHE = 4
"""An array that is copied is so many times larger than the last-level cache."""
LEAST_ARRAY_BYTES, MOST_ARRAY_BYTES = 64 << 20, 512 << 20
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_ACTIVATION_RANGE = 2.0
_WEIGHT_RANGE = 0.1
_COPIES = 2  # a copied byte is read and written
_SEED = 0
_COPY = ("copy", 0)

_Trial = tuple[str, int]
"""A precision and the side of the images."""
_Call = Callable[[], object]


def peaks(request: Mapping[str, Any]) -> dict[str, Any]:
    """Multiply-accumulates per second by precision (only where a kernel of it ran), and bytes per second."""
    threads = int(request["threads"])
    copied_bytes = array_bytes(last_level_bytes(CACHES), usable_memory_bytes(), int(request["memory_part"]))
    timed: dict[_Trial, _Call] = {}
    for precision, side in itertools.product(request["precisions"], SIDES):
        call = _convolutions(precision, side, threads)
        if call is not None:
            timed[precision, side] = call
    own = [os.getpid()]
    with ThreadPoolExecutor(threads) as pool:
        timed[_COPY] = _copies(copied_bytes, threads, pool)
        before = snapshot(own)
        best = fastest(timed, request["rounds"], request["round_s"])
        load = between(before, snapshot(own))
    bytes_per_s = _COPIES * copied_bytes / best.pop(_COPY)
    macs_per_s: dict[str, float] = {}
    for (precision, side), seconds in best.items():
        attained = threads * DEPTH * (CHANNELS * KERNEL * side) ** 2 / seconds
        macs_per_s[precision] = max(attained, macs_per_s.get(precision, 0.0))
    return {"macs_per_s": macs_per_s, "bytes_per_s": bytes_per_s, "foreign_share": load.foreign_share}


def fastest(timed: Mapping[_Trial, _Call], rounds: int, round_s: float) -> dict[_Trial, float]:
    """The least seconds that a call of each took, which take turns of `round_s` for `rounds` rounds."""
    best = dict.fromkeys(timed, float("inf"))
    for _ in range(rounds):
        for name, call in timed.items():
            ends = time.perf_counter() + round_s
            while (began := time.perf_counter()) < ends:
                call()
                best[name] = min(best[name], time.perf_counter() - began)
    return best


def last_level_bytes(caches: Path) -> int | None:
    """The size of the last-level cache; `caches` is where the kernel lists those of a core. None where it does not."""
    texts = [read_short(path).strip() for path in caches.glob("index*/size")]
    sizes = [
        int(match[1]) * _UNITS.get(match[2], 1) for text in texts if (match := re.fullmatch(r"(\d+)([KMG]?)", text))
    ]
    return max(sizes, default=None)


def array_bytes(cache_bytes: int | None, memory_bytes: int, memory_part: int) -> int:
    """The size of an array that is copied: larger than the cache, and at most a part of the memory (0: not known)."""
    wanted = max(LEAST_ARRAY_BYTES, min(MOST_ARRAY_BYTES, BEYOND_CACHE * (cache_bytes or 0)))
    return min(wanted, memory_bytes // memory_part) if memory_bytes else wanted


def _convolutions(precision: str, side: int, threads: int) -> _Call | None:
    """A call of the chain with one image per thread; None where the library calculates it in another precision."""
    import openvino

    compiled = openvino.Core().compile_model(
        _model(precision, side, threads),
        "CPU",
        {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32" if precision == "i8" else precision,
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERF_COUNT": True,  # a clock's reading per layer, nothing beside the layer
        },
    )
    request = compiled.create_infer_request()
    generator = np.random.default_rng(_SEED)
    batch = generator.random((threads, CHANNELS, side, side), np.float32)
    request.infer({0: batch}, share_inputs=True)
    kernels = [
        str(node.exec_type).lower()
        for node in request.profiling_info
        if node.status == node.Status.EXECUTED and node.node_type == "Convolution"
    ]
    found = [precision_of([kernel.rpartition("_")[2]]) for kernel in kernels]
    if precision != "f32" and found != [precision] * DEPTH:  # wider is not what was asked for, and f32 is the widest
        return None
    return lambda: request.infer({0: batch}, share_inputs=True)


def _model(precision: str, side: int, batch: int) -> Any:
    import openvino
    from openvino import opset13 as ops

    def quantized(node: Any, low: float, high: float, levels: int) -> Any:
        ends = [ops.constant(np.float32(end)) for end in (low, high)]
        return ops.fake_quantize(node, *ends, *ends, levels)

    generator = np.random.default_rng(_SEED)
    image = ops.parameter([batch, CHANNELS, side, side], np.float32)
    node = image
    for _ in range(DEPTH):
        shape = (CHANNELS, CHANNELS, KERNEL, KERNEL)
        weights = ops.constant(generator.uniform(-_WEIGHT_RANGE, _WEIGHT_RANGE, shape).astype(np.float32))
        if precision == "i8":
            node = quantized(node, 0.0, _ACTIVATION_RANGE, 256)
            weights = quantized(weights, -_WEIGHT_RANGE, _WEIGHT_RANGE, 255)
        padding = [KERNEL // 2] * 2
        node = ops.relu(ops.convolution(node, weights, [1, 1], padding, padding, [1, 1]))
    return openvino.Model([node], [image], "peak")


def _copies(array_bytes: int, threads: int, pool: ThreadPoolExecutor) -> _Call:
    """A copy of one array to another, a part per thread: numpy lets go of the interpreter meanwhile."""
    source, target = np.ones(array_bytes, np.uint8), np.zeros(array_bytes, np.uint8)
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    for one, other in parts:
        np.copyto(one, other)  # zeros are not in memory before something else is written
    if threads == 1:
        return lambda: np.copyto(target, source)
    return lambda: list(pool.map(lambda pair: np.copyto(*pair), parts))


if __name__ == "__main__":
    serve({"peaks": peaks})

"""Loops of a graph that may never end: found in the file, since nothing stops one that runs.

An ONNX file is read here as a protobuf message; only what tells of loops is looked at.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from pathlib import Path

from autoopt.errors import Unsupported
from autoopt.inference.formats.protobuf import fields, messages, text, varint

MOST_ITERATIONS = 100_000
"""Of all loops within each other together; a network has no use for more."""
DEEPEST = 20
_GRAPH = 7  # fields of ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto
_NODE, _INITIALIZER = 1, 5
_INPUT, _OUTPUT, _TYPE, _ATTRIBUTE = 1, 2, 4, 5
_TENSOR, _SUBGRAPH, _SUBGRAPHS = 5, 6, 11
_INT64_DATA, _NAME, _RAW = 7, 8, 9


def check_onnx_loops(file: Path) -> None:
    """Raise Unsupported for an ONNX graph with a loop that does not say how often it is done, or that too often."""
    if file.stat().st_size == 0:
        raise Unsupported(f"{file.name} must be an ONNX graph, it is empty")
    with file.open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    if mapped.find(b"Loop") < 0:
        return
    try:
        for graph in messages(memoryview(mapped), _GRAPH):
            _check_graph(graph, {}, 1, 0)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise Unsupported(f"{file.name} must be an ONNX graph, it is damaged: {error}") from error


def check_count(iterations: int | None, outer: int = 1) -> int:
    """How often the inside of a loop is done, the loop itself `outer` times. Raises Unsupported."""
    if iterations is None or not 0 <= iterations * outer <= MOST_ITERATIONS:
        came = (
            "this one goes on until a condition holds" if iterations is None else f"this one goes on for {iterations}"
        )
        raise Unsupported(f"a loop in a graph must say that it ends after at most {MOST_ITERATIONS} rounds, {came}")
    return iterations * outer


def _check_graph(graph: memoryview, known: Mapping[str, int], outer: int, depth: int) -> None:
    if depth > DEEPEST:
        raise Unsupported(f"graphs within a graph must be at most {DEEPEST} deep")
    counts = dict(known)
    for tensor in messages(graph, _INITIALIZER):
        _add_count(counts, tensor, "")
    for node in messages(graph, _NODE):
        kind = text(node, _TYPE)
        attributes = list(messages(node, _ATTRIBUTE))
        if kind == "Constant":
            for attribute in attributes:
                for tensor in messages(attribute, _TENSOR):
                    _add_count(counts, tensor, text(node, _OUTPUT))
        inside = outer
        if kind == "Loop":
            name = text(node, _INPUT)
            inside = check_count(counts.get(name), outer)
        for attribute in attributes:
            for field in (_SUBGRAPH, _SUBGRAPHS):
                for body in messages(attribute, field):
                    _check_graph(body, counts, inside, depth + 1)


def _add_count(counts: dict[str, int], tensor: memoryview, name: str) -> None:
    """Keep the value of a tensor of one whole number of 64 bits."""
    raw = next(messages(tensor, _RAW), None)
    if raw is not None and len(raw) == 8:
        counts[name or text(tensor, _NAME)] = struct.unpack("<q", raw)[0]
        return
    for field, value in fields(tensor):
        if field == _INT64_DATA:
            number = value if isinstance(value, int) else varint(value, 0)[0]
            counts[name or text(tensor, _NAME)] = number - (1 << 64) if number >> 63 else number
            return

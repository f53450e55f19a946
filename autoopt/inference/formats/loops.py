"""Loops of a graph that may never end: found in the file, since nothing stops one that runs.

A bundle needs neither the package onnx nor a search to be used, so an ONNX file is read here as what it is, a protobuf
message: numbered fields, each a number, bytes, or a message within. Only what tells of loops is looked at.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

from autoopt.errors import Unsupported

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
        for graph in _all(memoryview(mapped), _GRAPH):
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
    for tensor in _all(graph, _INITIALIZER):
        _add_count(counts, tensor, "")
    for node in _all(graph, _NODE):
        kind = _text(node, _TYPE)
        attributes = list(_all(node, _ATTRIBUTE))
        if kind == "Constant":
            for attribute in attributes:
                for tensor in _all(attribute, _TENSOR):
                    _add_count(counts, tensor, _text(node, _OUTPUT))
        inside = outer
        if kind == "Loop":
            name = _text(node, _INPUT)
            inside = check_count(counts.get(name), outer)
        for attribute in attributes:
            for field in (_SUBGRAPH, _SUBGRAPHS):
                for body in _all(attribute, field):
                    _check_graph(body, counts, inside, depth + 1)


def _add_count(counts: dict[str, int], tensor: memoryview, name: str) -> None:
    """Keep the value of a tensor of one whole number of 64 bits."""
    raw = next(_all(tensor, _RAW), None)
    if raw is not None and len(raw) == 8:
        counts[name or _text(tensor, _NAME)] = struct.unpack("<q", raw)[0]
        return
    for field, value in _fields(tensor):
        if field == _INT64_DATA:
            number = value if isinstance(value, int) else _varint(value, 0)[0]
            counts[name or _text(tensor, _NAME)] = number - (1 << 64) if number >> 63 else number
            return


def _text(message: memoryview, field: int) -> str:
    """The first text of that number; empty where there is none."""
    found = next(_all(message, field), None)
    return "" if found is None else bytes(found).decode()


def _all(message: memoryview, field: int) -> Iterator[memoryview]:
    """All messages, texts and bytes of that number."""
    for number, value in _fields(message):
        if number == field and not isinstance(value, int):
            yield value


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message: number, and a whole number or bytes. Raises IndexError for one that is cut short."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        kind = key & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield key >> 3, value
            continue
        length, place = _varint(message, place) if kind == 2 else ({1: 8, 5: 4}.get(kind, -1), place)
        if length < 0 or place + length > len(message):
            raise IndexError("a field is cut short")
        if kind == 2:
            yield key >> 3, message[place : place + length]
        place += length


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128 or shift > 63:
            return value, place

"""What an ONNX file must not hold, found before a library opens it: the file may come from anybody.

Refused are weights in files outside of its folder, operators that only a library of somebody else knows, declared sizes
that no host could hold, and loops without an end.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from autoopt.core.plain_text import short
from autoopt.errors import Unsupported
from autoopt.inference.formats.loops import DEEPEST, check_onnx_loops
from autoopt.inference.formats.protobuf import fields, messages, text, varint
from autoopt.inference.pipeline_checks import MOST_VALUES

DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Whose operators ONNX Runtime knows by itself."""
_GRAPH, _FUNCTION = 7, 25  # fields of ModelProto
_NODE, _INITIALIZER, _INPUT, _OUTPUT, _VALUE = 1, 5, 11, 12, 13  # GraphProto
_SPARSE = 15
_FUNCTION_NODE, _FUNCTION_DOMAIN = 7, 10
_OPERATOR, _ATTRIBUTE, _DOMAIN = 4, 5, 7  # NodeProto
_TENSOR, _SUBGRAPH, _TENSORS, _SUBGRAPHS, _SPARSE_TENSOR, _SPARSE_TENSORS = 5, 6, 10, 11, 22, 23  # AttributeProto
_DIMS, _NAME, _EXTERNAL = 1, 8, 13  # TensorProto
_KEY, _CONTENT = 1, 2  # StringStringEntryProto


def check_onnx_file(file: Path) -> None:
    """Raise Unsupported, with the reason, for an ONNX file that must not be opened."""
    check_onnx_loops(file)
    with file.open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    model = memoryview(mapped)
    try:
        functions = list(messages(model, _FUNCTION))
        known = {*DOMAINS, *(text(function, _FUNCTION_DOMAIN) for function in functions)}
        for function in functions:
            for node in messages(function, _FUNCTION_NODE):
                _check_node(node, file, known, 0)
        for graph in messages(model, _GRAPH):
            _check_graph(graph, file, known, 0)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise Unsupported(f"{file.name} must be an ONNX graph, it is damaged: {error}") from error


def _check_graph(graph: memoryview, file: Path, known: set[str], depth: int) -> None:
    if depth > DEEPEST:
        raise Unsupported(f"graphs within a graph must be at most {DEEPEST} deep")
    for number, value in fields(graph):
        if isinstance(value, int):
            continue
        if number == _NODE:
            _check_node(value, file, known, depth)
        elif number == _INITIALIZER:
            _check_tensor(value, file)
        elif number == _SPARSE:
            _check_sparse(value, file)
        elif number in (_INPUT, _OUTPUT, _VALUE):
            _check_size(_declared(value), text(value, 1), file)


def _check_node(node: memoryview, file: Path, known: set[str], depth: int) -> None:
    domain = text(node, _DOMAIN)
    if domain not in known:
        raise Unsupported(
            f"a graph must have operators of {', '.join(filter(None, DOMAINS))} only, {file.name} has "
            f"{short(text(node, _OPERATOR))} of {short(domain)}, which needs a library of somebody else: do not use it"
        )
    for attribute in messages(node, _ATTRIBUTE):
        for number, value in fields(attribute):
            if isinstance(value, int):
                continue
            if number in (_TENSOR, _TENSORS):
                _check_tensor(value, file)
            elif number in (_SPARSE_TENSOR, _SPARSE_TENSORS):
                _check_sparse(value, file)
            elif number in (_SUBGRAPH, _SUBGRAPHS):
                _check_graph(value, file, known, depth + 1)


def _check_sparse(sparse: memoryview, file: Path) -> None:
    """A sparse tensor holds two tensors, its values and where they are."""
    for number, value in fields(sparse):
        if number in (1, 2) and not isinstance(value, int):
            _check_tensor(value, file)


def _check_tensor(tensor: memoryview, file: Path) -> None:
    name = text(tensor, _NAME)
    _check_size(list(_numbers(tensor, _DIMS)), name, file)
    for entry in messages(tensor, _EXTERNAL):
        if text(entry, _KEY) == "location":
            _check_location(text(entry, _CONTENT), file)


def _check_location(location: str, file: Path) -> None:
    path = PurePosixPath(location)
    outside = (
        path.is_absolute() or ".." in path.parts or "\\" in location or ":" in location or not location.isprintable()
    )
    if outside or not location:
        raise Unsupported(
            f"the weights of a graph must lie in its folder, {file.name} has them in {short(location)}: do not use it"
        )
    inside = file.parent
    for part in path.parts:
        inside = inside / part
        if inside.is_symlink():
            raise Unsupported(
                f"the weights of a graph must lie in its folder, {short(location)} is a link: do not use it"
            )
    if not inside.is_file():
        raise Unsupported(f"{file.name} takes weights from {short(location)}, which is missing: pull the bundle again")


def _check_size(sizes: list[int], name: str, file: Path) -> None:
    if math.prod(sizes) > MOST_VALUES:  # a size below zero is read as one beyond all limits
        raise Unsupported(
            f"a tensor must have at most {MOST_VALUES:g} values, {short(name)} in {file.name} has the shape "
            f"{short(tuple(sizes))}: do not use it"
        )


def _declared(value: memoryview) -> list[int]:
    """The sizes in a ValueInfoProto that are known: its type, of a tensor, its shape, its dimensions."""
    sizes = []
    for kind in messages(value, 2):
        for tensor in messages(kind, 1):
            for shape in messages(tensor, 2):
                for dimension in messages(shape, 1):
                    sizes += [item for number, item in fields(dimension) if number == 1 and isinstance(item, int)]
    return sizes


def _numbers(message: memoryview, field: int) -> Iterator[int]:
    """All whole numbers of a field, packed together or not."""
    for number, value in fields(message):
        if number == field and isinstance(value, int):
            yield value
        elif number == field and not isinstance(value, int):
            place = 0
            while place < len(value):
                item, place = varint(value, place)
                yield item

"""A graph format from outside the package: an ONNX graph under another name, with a letter before it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from autoopt.errors import Unsupported
from autoopt.inference.formats.base import Call, Source
from autoopt.inference.formats.names import Node
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.roofline import Cost

FILE = "model.toy"
NETWORK = True
PARENT: str | None = "onnx"
FINISHED: tuple[str, ...] = ()
PRECISIONS: tuple[str, ...] = ("f32",)
VERSION = 1
DISTRIBUTIONS: tuple[str, ...] = ()
LETTER = b"T"


def write(source: Source, precision: str, folder: Path) -> int:
    """Wrap what the parent's file has."""
    assert source.parent is not None
    (folder / FILE).write_bytes(LETTER + (source.parent / "model.onnx").read_bytes())
    return 1


def content(folder: Path) -> bytes:
    """The ONNX graph inside. Raises Unsupported where there is none."""
    file = folder / FILE
    if not file.is_file() or not file.read_bytes().startswith(LETTER):
        raise Unsupported(f"{folder.name} must hold a toy graph, it does not")
    return file.read_bytes().removeprefix(LETTER)


def call(path: Path) -> Call:
    """By ONNX Runtime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content(path), providers=["CPUExecutionProvider"])
    return lambda batch: np.asarray(session.run(None, {session.get_inputs()[0].name: batch})[0])


def layers(folder: Path) -> list[Node]:
    """All nodes."""
    import onnx

    nodes = onnx.load_from_string(content(folder)).graph.node
    return [Node((node.name,), (node.name,), (node.op_type,)) for node in nodes]


def counts(folder: Path) -> dict[str, int]:
    """Nothing is quantized."""
    return {
        "quantizers": 0,
        "quantized_layers": 0,
        "layers": sum(node.types[0] == "Conv" for node in layers(folder)),
    }


def cost(folder: Path, input_shape: Sequence[int], precision: str) -> Cost:
    """Not counted."""
    raise Unsupported("a toy graph is not counted")


def fuse(source: Path, pipeline: Pipeline, folder: Path) -> None:
    """Not possible."""
    raise Unsupported("a toy graph takes tensors only")

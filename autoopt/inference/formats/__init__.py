"""Graph formats: what the graph of an artifact is stored as. One file each, one line each in `FORMATS`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from autoopt.core.tables import Table
from autoopt.inference.formats.base import Call, GraphFormat
from autoopt.inference.roofline import Cost

FORMATS = Table(
    "format",
    {
        "torch": "autoopt.inference.formats.torch",
        "onnx": "autoopt.inference.formats.onnx",
        "openvino": "autoopt.inference.formats.openvino",
        "fake": "autoopt.inference.formats.fake",
    },
)
"""Name to module; the module is a `GraphFormat` (base.py). Importing it loads no heavy library."""


def graph_format(name: str) -> GraphFormat:
    """The format module called `name`. Raises KeyError for a name that is not in the table."""
    return cast(GraphFormat, FORMATS.load(name))


def format_of(folder: Path) -> str:
    """The name of the format of the graph in `folder`. Raises FileNotFoundError when there is none."""
    for name in FORMATS:
        if (folder / graph_format(name).FILE).is_file():
            return name
    files = ", ".join(graph_format(name).FILE for name in FORMATS)
    raise FileNotFoundError(f"{folder} must hold one of {files}")


def caller(folder: Path) -> Call:
    """A function from one batch to the output of the graph in `folder`: in float32, for checks, never for timing."""
    return graph_format(format_of(folder)).call(folder)


def cost(folder: Path, input_shape: Sequence[int], precision: str = "f32") -> Cost:
    """The arithmetic and the traffic of one call of the graph in `folder`; see `GraphFormat.cost`."""
    return graph_format(format_of(folder)).cost(folder, input_shape, precision)


def finished_format(file: Path) -> str | None:
    """The format that takes `file`, a graph that somebody brings instead of a network; None where none does."""
    return next((name for name in FORMATS if file.suffix in graph_format(name).FINISHED), None)


def can_hold(name: str, file: Path) -> bool:
    """Whether the finished graph in `file` can be written in the format called `name`."""
    written = graph_format(name)
    if not written.NETWORK or file.suffix in written.FINISHED:
        return True
    return written.PARENT is not None and can_hold(written.PARENT, file)

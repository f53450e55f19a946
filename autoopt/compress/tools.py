"""Quantization tools: what turns a float graph into one with integers. One file each, one line each in `TOOLS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from autoopt.core.configuration import Scalar
from autoopt.core.parameters import Parameter
from autoopt.core.tables import Table
from autoopt.workloads.contract import Workload

TOOLS = Table(
    "tool",
    {
        "nncf": "autoopt.compress.quantize_nncf",
        "onnxruntime": "autoopt.compress.quantize_ort",
    },
)
"""Name to module; the module is a `Tool`. Importing it loads no heavy library.

Of the tools that read a format the first is the default. A line must be added before `quantize` is imported, whose
settings follow from this table.
"""


class Tool(Protocol):
    """A quantization tool's module. It may have `TITLE`, what people call it."""

    SCHEMES: Mapping[str, tuple[str, ...]]
    """The graph formats that it reads and writes, and what it makes of each: see `quantize.PARAMETERS["scheme"]`."""
    RANGE_ESTIMATORS: tuple[str, ...]
    """The statistics from which it can take the range of an activation, its default first."""
    PARAMETERS: Mapping[str, Parameter]
    """The settings that this tool has besides those of all tools."""
    DISTRIBUTIONS: tuple[str, ...]
    """The packages whose versions change what it makes, as pip calls them."""

    def quantize(
        self,
        settings: Mapping[str, Scalar],
        format_name: str,
        source: Path,
        tiles: Sequence[np.ndarray],
        folder: Path,
        workload: Workload,
    ) -> dict[str, Any]:
        """Write the quantized graph of the folder `source`, of the format `format_name`, to `folder`.

        `settings` are canonical; `tiles` are calibration tiles (1, channels, *tile), float32, at least one. Of
        `workload` only train and calibration may be read. The report has at least `ignored`, the names of the nodes
        that stay in float. Raises Unsupported when a selector selects nothing or the tool refuses the graph.
        """
        ...


def tool(name: str) -> Tool:
    """The tool module called `name`. Raises KeyError for a name that is not in the table."""
    return cast(Tool, TOOLS.load(name))


def tool_title(name: str) -> str:
    """What people call the tool `name`: its TITLE; the name where it has none, or is not in the table."""
    return str(getattr(tool(name), "TITLE", name)) if name in TOOLS else name


def tools_for(format_name: str, scheme: str) -> list[str]:
    """The names of the tools that make `scheme` of graphs of a format, the default first."""
    return [name for name in TOOLS if scheme in tool(name).SCHEMES.get(format_name, ())]

"""What layers are called: one name for a layer in every format, so that settings hold across exports and machines.

A node is called by the module that it came from and its operation, such as `conv_0.conv_0.conv/Conv`, in ONNX and
in OpenVINO files alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

SYNONYMS = (
    ("Conv", "Convolution", "GroupConvolution"),
    ("ConvTranspose", "ConvolutionBackpropData", "GroupConvolutionBackpropData"),
    ("Gemm", "MatMul"),
    ("Mul", "Multiply"),
    ("Sub", "Subtract"),
    ("Div", "Divide"),
    ("LeakyRelu", "PRelu"),
    ("AveragePool", "AvgPool"),
    ("GlobalAveragePool", "ReduceMean"),
    ("Resize", "Interpolate"),
    ("InstanceNormalization", "MVN"),
    ("Softmax", "SoftMax"),
    ("Pow", "Power"),
)
"""Operations that are called differently in ONNX (first) and in OpenVINO."""
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
"""Operations with weights, as ONNX calls them."""
SHARES = "enlarged_along_{}"
"""The names of the constants whose products enlarge the output of a network at reduced resolution, one per axis."""
ENLARGE = "Enlarge"
"""The type of these products: enlarging an output is no layer of the network, so they are never quantized."""
PLUMBING = frozenset({"Constant", "Parameter", "Result", "ShapeOf", "Identity", "Convert"})
"""Nodes that are no layers."""
COUNTED = re.compile(r"[A-Z][A-Za-z]*_\d+(/fq_.*)?")
"""What OpenVINO calls a node without a name: its (former) operation and a counter of the process. Such a name says
nothing in another process."""


@dataclass(frozen=True)
class Node:
    """One layer as a user names it: `names` are its nodes in the graph, `aliases` what selects it (best first),
    `types` how its operation is called in the various formats."""

    names: tuple[str, ...]
    aliases: tuple[str, ...]
    types: tuple[str, ...]


def types_of(kind: str) -> tuple[str, ...]:
    """The operation `kind` in every format's word for it, that of ONNX first."""
    return next((group for group in SYNONYMS if kind in group), (kind,))


def is_counted(name: str) -> bool:
    """Whether `name` holds a counter of its process."""
    return COUNTED.fullmatch(name) is not None


def is_share(*names: str) -> bool:
    """Whether one of the constants `names` enlarges an output."""
    return any(name.startswith(SHARES.format("")) for name in names)


def enlarging(nodes: Sequence[Node]) -> list[str]:
    """The names of the nodes that enlarge an output."""
    return [name for node in nodes if node.types == (ENLARGE,) for name in node.names]


def module_of_weight(names: Iterable[str]) -> str | None:
    """The module that owns the first weight among the names of constants; None where none is a weight of a module."""
    return next((name.rpartition(".")[0] for name in names if "." in name), None)


def unique(name: str, taken: set[str]) -> str:
    """`name`, or with a number behind it the first that is not `taken`; it is taken from then on."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}-{number}"
    taken.add(candidate)
    return candidate

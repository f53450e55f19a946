"""Exported programs of PyTorch: model.pt2, which holds its precision."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.errors import Unsupported
from autoopt.inference.formats.base import Call, Source
from autoopt.inference.formats.fused_pipeline import decided, normalised
from autoopt.inference.formats.names import Node
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.roofline import Cost

if TYPE_CHECKING:
    import torch

FILE = "model.pt2"
NETWORK = True
PARENT: str | None = None
FINISHED: tuple[str, ...] = ()
PRECISIONS: tuple[str, ...] = ("f32", "bf16")
VERSION = 1
DISTRIBUTIONS: tuple[str, ...] = ("torch",)
_WEIGHTED = ("conv", "linear", "addmm", "matmul", "bmm", "mm")
"""What the names of operators with weights begin with."""


def write(source: Source, precision: str, folder: Path) -> int:
    """Export the network; in bf16 its weights are bfloat16, its input and output stay float32."""
    import torch

    module = source.model
    if module is None:
        raise Unsupported("a finished graph cannot be run by PyTorch: it needs the network")
    if precision == "bf16":
        module = _in_bfloat16(copy.deepcopy(module))
    program = torch.export.export(module, (torch.from_numpy(source.batches["noise"]),), strict=False)
    torch.export.save(program, folder / FILE)
    return sum(node.op == "call_function" for node in program.graph.nodes)


def call(path: Path) -> Call:
    """See `GraphFormat.call`."""
    import torch

    module = torch.export.load(path / FILE if path.is_dir() else path).module()

    def run(batch: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(module(torch.from_numpy(batch)).numpy())

    return run


def layers(folder: Path) -> list[Node]:
    """The operators of the graph, each by the module that called it."""
    import torch

    nodes = torch.export.load(folder / FILE).graph.nodes
    called = [(layer_name(node), operator(node)) for node in nodes if node.op == "call_function"]
    return [Node((name,), (name,), (kind,)) for name, kind in called]


def layer_name(node: torch.fx.Node) -> str:
    """The module and the operator of a node, such as `stem/conv2d`; the node's own name where no module called it."""
    scopes = [path for path, _ in (node.meta.get("nn_module_stack") or {}).values() if path]
    return f"{scopes[-1]}/{operator(node)}" if scopes else node.name


def operator(node: torch.fx.Node) -> str:
    """The operator that a node calls, such as `conv2d`."""
    return str(getattr(node.target, "_opname", None) or getattr(node.target, "__name__", node.target))


def counts(folder: Path) -> dict[str, int]:
    """Nothing in an exported program is quantized."""
    weighted = sum(node.types[0].startswith(_WEIGHTED) for node in layers(folder))
    return {"quantizers": 0, "quantized_layers": 0, "layers": weighted}


def cost(folder: Path, input_shape: Sequence[int], precision: str) -> Cost:
    """Raises Unsupported: the same network is counted in a format that OpenVINO reads."""
    raise Unsupported(f"the exported program in {folder.name} is not counted: export the network to ONNX or OpenVINO")


def fuse(source: Path, pipeline: Pipeline, folder: Path) -> None:
    """See `GraphFormat.fuse`."""
    import torch

    network, ops = torch.export.load(source / FILE).module(), _Operations()

    class Fused(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(normalised(ops, pixels, pipeline))
            return decided(ops, logits, pipeline.classes) if pipeline.gives_labels else logits

    example = torch.zeros(pipeline.input_shape, dtype=torch.uint8)
    program = torch.export.export(Fused(), (example,), strict=False)
    torch.export.save(program, folder / FILE)


def _in_bfloat16(model: torch.nn.Module) -> torch.nn.Module:
    """The model in bfloat16 that takes and gives float32."""
    import torch

    class InBfloat16(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model.to(torch.bfloat16)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.model(batch.to(torch.bfloat16))
            return answer.to(torch.float32)

    return InBfloat16().eval()


class _Operations:
    """Values are tensors."""

    def turned(self, value: Any, order: list[int]) -> Any:
        return value.permute(order).contiguous()  # as without: other strides would run other kernels

    def floats(self, value: Any) -> Any:
        return value.float()

    def times(self, value: Any, factor: np.ndarray) -> Any:
        return value * value.new_tensor(factor)

    def plus(self, value: Any, term: np.ndarray) -> Any:
        return value + value.new_tensor(term)

    def plane(self, value: Any, index: int) -> Any:
        return value[:, index]

    def higher(self, value: Any, other: Any) -> Any:
        return value > other

    def largest(self, value: Any, other: Any) -> Any:
        return value.maximum(other)

    def labelled(self, where: Any, label: int, others: Any | None) -> Any:
        return where.byte() if others is None else others.masked_fill(where, label)

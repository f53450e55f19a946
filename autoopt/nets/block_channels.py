"""Blocks of pixels as channels: the two ends of a network that sees them, so that no detail is averaged away.

A convolution at the input takes the pixels of a block as channels (space to depth), one at the output answers with the
classes of each pixel of a block (depth to space: Shi et al. 2016). Both begin as what they were: the first with the
mean of the block, the last with the same answer for the whole block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoopt.errors import Unsupported
from autoopt.nets.channel_sets import argument, nodes_in
from autoopt.nets.exporter_errors import quiet, refusals_of
from autoopt.nets.surgery import set_weight

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Ends:
    """The names of the layers that see the input, and of the one that gives the output, None where none need be."""

    first: tuple[str, ...]
    last: str | None


def ends_of(model: torch.nn.Module, batch: torch.Tensor, *, output: bool) -> Ends:
    """The convolutions at the ends of `model`, in evaluation mode, for an input `batch`; the last one with `output`.

    Raises Unsupported where something else than an ungrouped convolution sees the input or gives the output, or where
    the model cannot be exported.
    """
    import torch

    with quiet(), refusals_of("torch.export"):
        program = torch.export.export(model, (batch,), strict=False)
    signature = program.graph_signature
    weights = signature.inputs_to_parameters
    given = {node.name: node for node in program.graph.nodes}
    first = tuple(
        _layer(user, weights, "sees the input") for name in signature.user_inputs for user in given[name].users
    )
    if not first:
        raise Unsupported("the network must use its input, it does not")
    last = _layer(given[signature.user_outputs[0]], weights, "gives the output") if output else None
    if last in first:
        raise Unsupported("the network must have more than one layer")
    return Ends(tuple(dict.fromkeys(first)), last)


def _layer(node: Any, weights: dict[str, str], role: str) -> str:
    """The name of the convolution that `node` is. Raises Unsupported where it is none, or one by groups."""
    kind = str(node.target).split(".")[1:2]
    if kind not in (["conv1d"], ["conv2d"], ["conv3d"]) or int(argument(node, 6, "groups", 1)) != 1:
        raise Unsupported(f"an ungrouped convolution must be what {role} of the network, it is {node.target}")
    weight = argument(node, 1, "weight")
    name = weights.get(getattr(weight, "name", ""), "")
    others = [user for user in nodes_in((weight,))[0].users if user is not node] if name else []
    if not name or others:
        raise Unsupported(f"the convolution that {role} of the network must have a weight of its own")
    return name.rpartition(".")[0]


def widen(model: torch.nn.Module, ends: Ends, factor: int) -> None:
    """Let the layers at the ends see and give blocks of `factor` pixels along each axis, in place."""
    for name in ends.first:
        layer: Any = model.get_submodule(name)
        weight = layer.weight.detach()
        block = factor ** (weight.ndim - 2)
        set_weight(layer, "weight", weight.repeat_interleave(block, dim=1) / block)
        layer.in_channels *= block
    if ends.last is not None:
        layer = model.get_submodule(ends.last)
        block = factor ** (layer.weight.ndim - 2)
        set_weight(layer, "weight", layer.weight.detach().repeat_interleave(block, dim=0))
        if layer.bias is not None:
            set_weight(layer, "bias", layer.bias.detach().repeat_interleave(block, dim=0))
        layer.out_channels *= block


def gathered(image: torch.Tensor, factor: int) -> torch.Tensor:
    """Images (n, channels, *sizes) with the pixels of each block as channels: (n, channels x block, *smaller)."""
    count, channels, *sizes = image.shape
    if len(sizes) == 2:
        import torch.nn.functional as functions

        return functions.pixel_unshuffle(image, factor)
    axes = len(sizes)
    parts = image.reshape(count, channels, *(part for size in sizes for part in (size // factor, factor)))
    order = (0, 1, *(3 + 2 * axis for axis in range(axes)), *(2 + 2 * axis for axis in range(axes)))
    return parts.permute(order).reshape(count, channels * factor**axes, *(size // factor for size in sizes))


def spread(image: torch.Tensor, factor: int) -> torch.Tensor:
    """The opposite of `gathered`: images (n, channels x block, *smaller) become (n, channels, *sizes)."""
    count, channels, *sizes = image.shape
    if len(sizes) == 2:
        import torch.nn.functional as functions

        return functions.pixel_shuffle(image, factor)
    axes = len(sizes)
    parts = image.reshape(count, channels // factor**axes, *[factor] * axes, *sizes)
    order = (0, 1, *(place for axis in range(axes) for place in (2 + axes + axis, 2 + axis)))
    return parts.permute(order).reshape(count, channels // factor**axes, *(size * factor for size in sizes))

"""Which channels of a network can only be removed together, found by following the graph that `torch.export` gives.

Every index of every axis of every weight is a channel. The rules of the operations (rules.py) join channels into sets:
a residual sum joins those of its terms, a concatenation puts them side by side, a convolution joins its input with the
second axis of its weight. A set in the end is a unit: it is removed whole or not at all. The idea is that of DepGraph
(Fang et al. 2023), on the exported graph instead of the autograd one, so that layers without weights are seen and
a layer of one channel is like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoopt.nets.channel_sets import KEPT, Axes, ChannelSets, free, nodes_in, shape_of
from autoopt.nets.rules import called

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Group:
    """Units that lie in the same axes of the same weights, so that any of them may go instead of another.

    `axes` are pairs (name of a weight as in `state_dict`, axis); `members[u][a]` are the indices of unit u in axis a.
    `heads` is the name of the attention layer whose heads the units are, None for channels.
    """

    axes: tuple[tuple[str, int], ...]
    members: tuple[tuple[tuple[int, ...], ...], ...]
    heads: str | None = None

    def __len__(self) -> int:
        return len(self.members)

    @property
    def name(self) -> str:
        """The name of the first layer that computes these channels."""
        made = [weight for weight, axis in self.axes if axis == 0 and weight.endswith("weight")]
        return (made or [weight for weight, _ in self.axes])[0].rpartition(".")[0]


def groups(model: torch.nn.Module, batch: torch.Tensor) -> list[Group]:
    """The groups of units that can be removed while `model` takes and gives the same, in the order of its weights.

    `model` is in evaluation mode, `batch` an input of one item. Raises Unsupported when it cannot be exported.
    """
    import torch

    from autoopt.nets.exporter_errors import quiet, refusals_of

    with quiet(), refusals_of("torch.export"):
        program = torch.export.export(model, (batch,), strict=False)
    sets, weights = ChannelSets(), dict[str, Axes]()
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in names and node.users:
            axes: Axes = [sets.fresh(size) for size in shape_of(node)]
            sets[node] = weights[names[node.name]] = axes
        elif node.op in ("placeholder", "get_attr"):
            sets[node] = free(node)
        elif node.op == "call_function":
            sets[node] = called(sets, node)
            norm = _norm_without_weights(node)
            if norm is not None:
                weights.setdefault(norm, [sets.of(node)[1]])
        else:
            for item in nodes_in(node.args):
                sets.keep(sets.of(item))
    return _grouped(sets, weights)


def _norm_without_weights(node: Any) -> str | None:
    """The attribute in which a norm layer without weights keeps its number of channels; None of any other node."""
    if str(node.target).split(".")[1:2] not in (["instance_norm"], ["batch_norm"]) or len(nodes_in(node.args)) > 1:
        return None
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return f"{stack[-1][0]}.num_features" if stack else None


def _grouped(sets: ChannelSets, weights: dict[str, Axes]) -> list[Group]:
    places: dict[int, dict[tuple[str, int], list[int]]] = {}
    for name, axes in weights.items():
        for axis, indices in enumerate(axes):
            for index, channel in enumerate([] if indices is None else indices.tolist()):
                root = sets.root(channel)
                if root != KEPT:
                    places.setdefault(root, {}).setdefault((name, axis), []).append(index)
    found: dict[tuple[Any, ...], list[dict[tuple[str, int], list[int]]]] = {}
    for unit in places.values():
        found.setdefault(tuple((key, len(indices)) for key, indices in unit.items()), []).append(unit)
    return [
        Group(
            axes=tuple(key for key, _ in signature),
            members=tuple(tuple(tuple(unit[key]) for key, _ in signature) for unit in units),
        )
        for signature, units in found.items()
    ]

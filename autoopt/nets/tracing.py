"""Which channels of a network go together: followed through the graph that `torch.export` gives.

Every index of every axis of every weight is an atom. The operations say which atoms are the same channel (rules.py): a
residual sum joins those of its terms, a concatenation puts them side by side, a convolution joins its input with the
second axis of its weight. What is joined in the end can only be removed together: a unit. The idea is that of DepGraph
(Fang et al. 2023), on the exported graph instead of the autograd one: layers without weights are seen, and a layer of
one channel is a layer like others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoopt.nets.channel_sets import KEPT, Atoms, Axes, free, nodes_in, shape_of
from autoopt.nets.rules import called

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Group:
    """Units that are interchangeable: the channels that the same axes of the same weights have.

    `axes` are (name of a weight as in `state_dict`, axis); `members[u][a]` are the indices of unit u in axis a. Where
    the units are the heads of an attention layer, `heads` is its name.
    """

    axes: tuple[tuple[str, int], ...]
    members: tuple[tuple[tuple[int, ...], ...], ...]
    heads: str | None = None

    def __len__(self) -> int:
        return len(self.members)

    @property
    def name(self) -> str:
        """The first layer that makes these channels."""
        made = [weight for weight, axis in self.axes if axis == 0 and weight.endswith("weight")]
        return (made or [weight for weight, _ in self.axes])[0].rpartition(".")[0]


def groups(model: torch.nn.Module, batch: torch.Tensor) -> list[Group]:
    """What can be removed of `model` without touching what it takes and gives, in the order of its weights.

    `model` is in evaluation mode, `batch` an input of one item. Raises Unsupported when it cannot be exported.
    """
    import torch

    from autoopt.nets.exporter_errors import quiet, refusals_of

    with quiet(), refusals_of("torch.export"):
        program = torch.export.export(model, (batch,), strict=False)
    atoms, weights = Atoms(), dict[str, Axes]()
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in names and node.users:
            axes: Axes = [atoms.fresh(size) for size in shape_of(node)]
            atoms[node] = weights[names[node.name]] = axes
        elif node.op in ("placeholder", "get_attr"):
            atoms[node] = free(node)
        elif node.op == "call_function":
            atoms[node] = called(atoms, node)
            norm = _norm_without_weights(node)
            if norm is not None:
                weights.setdefault(norm, [atoms.of(node)[1]])
        else:
            for item in nodes_in(node.args):
                atoms.keep(atoms.of(item))
    return _grouped(atoms, weights)


def _norm_without_weights(node: Any) -> str | None:
    """Where such a layer remembers the number of its channels, by which it checks what it is given."""
    if str(node.target).split(".")[1:2] not in (["instance_norm"], ["batch_norm"]) or len(nodes_in(node.args)) > 1:
        return None
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return f"{stack[-1][0]}.num_features" if stack else None


def _grouped(atoms: Atoms, weights: dict[str, Axes]) -> list[Group]:
    places: dict[int, dict[tuple[str, int], list[int]]] = {}
    for name, axes in weights.items():
        for axis, indices in enumerate(axes):
            for index, atom in enumerate([] if indices is None else indices.tolist()):
                root = atoms.root(atom)
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

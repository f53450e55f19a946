"""An ONNX graph without the operation that decides: what it chooses the largest of, instead of the choice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

DECIDES = "ArgMax"
SHAPING = ("Cast", "Identity", "Squeeze", "Unsqueeze", "Reshape", "Flatten")
"""Operations that may follow: they change the type or the shape of the labels, not what they say."""


def undecided(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """A copy of the model that answers with what its last ArgMax, over the classes at axis 1, is taken of.

    None where the model does not end so, or does not tell the shape before it.
    """
    import onnx

    last = list(_last_nodes(model.graph))
    if not last or last[-1].op_type != DECIDES:
        return None
    attributes = {item.name: item.i for item in last[-1].attribute}
    values = last[-1].input[0]
    inferred = onnx.shape_inference.infer_shapes(model)
    known = next((item for item in (*inferred.graph.value_info, *model.graph.input) if item.name == values), None)
    rank = 0 if known is None else len(known.type.tensor_type.shape.dim)
    if rank < 2 or attributes.get("axis", 0) not in (1, 1 - rank) or attributes.get("select_last_index", 0):
        return None
    found = onnx.ModelProto()
    found.CopyFrom(model)
    found.graph.output[0].CopyFrom(known)
    gone = {node.output[0] for node in last}
    kept = [node for node in model.graph.node if node.output[0] not in gone]
    del found.graph.node[:]
    found.graph.node.extend(kept)
    return found


def _last_nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    """The nodes from the first output up, as long as they only give labels another form, and the one before them."""
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(graph.output[0].name)
    while node is not None:
        yield node
        if node.op_type not in SHAPING:
            return
        node = makers.get(node.input[0])

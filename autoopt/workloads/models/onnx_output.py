"""What an ONNX graph answers with, read off its last operations: logits, probabilities or labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LOGITS, PROBABILITIES, LABELS = "logits", "probabilities", "labels"
MEANINGS = {
    "Softmax": PROBABILITIES,
    "Sigmoid": PROBABILITIES,
    "HardSigmoid": PROBABILITIES,
    "ArgMax": LABELS,
    "Hardmax": LABELS,
    "Greater": LABELS,
    "GreaterOrEqual": LABELS,
    "Less": LABELS,
    "LessOrEqual": LABELS,
}
"""What the output of an operation means."""
PASSING = frozenset(
    {
        "Cast",
        "CastLike",
        "Clip",
        "DequantizeLinear",
        "Dropout",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "Pad",
        "QuantizeLinear",
        "Reshape",
        "Resize",
        "Slice",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
        "Upsample",
    }
)
"""Operations after which the values of their first input still mean the same."""


@dataclass(frozen=True)
class Meaning:
    """What an output is, `LOGITS`, `PROBABILITIES` or `LABELS`, and the operation that says so; None for logits."""

    kind: str
    operation: str | None = None


def meaning_of(model: Any) -> Meaning:
    """What the first output of an ONNX model is. Logits where no last operation says otherwise."""
    if model.functions:
        import onnx.inliner

        model = onnx.inliner.inline_local_functions(model)
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    constants = {item.name for item in graph.initializer}
    constants |= {name for node in graph.node if node.op_type == "Constant" for name in node.output}
    waiting, seen, found = [graph.output[0].name], set[str](), list[Meaning]()
    while waiting:
        name = waiting.pop()
        if name in seen or name in constants:
            continue
        seen.add(name)
        node = makers.get(name)
        kind = "" if node is None else _kind(node, makers, constants)
        if node is None or kind not in (*PASSING, "Concat", "Sub"):
            found.append(Meaning(MEANINGS[kind], kind) if kind in MEANINGS else Meaning(LOGITS))
        else:
            waiting += node.input if kind in ("Concat", "Sub") else node.input[:1]
    kinds = {item.kind for item in found}
    return found[0] if len(kinds) == 1 else Meaning(LOGITS)


def _kind(node: Any, makers: Mapping[str, Any], constants: set[str]) -> str:
    """The operation of a node; the last one of a softmax that is written out, exp(x) / sum(exp(x)), is that too."""
    kind = str(node.op_type)
    if kind == "Sub" and node.input[0] not in constants:  # only what is left of one, 1 - p, is a probability again
        return ""
    if kind == "Div":
        above, below = (makers.get(name) for name in node.input)
        if above is not None and below is not None and (above.op_type, below.op_type) == ("Exp", "ReduceSum"):
            return "Softmax" if below.input[0] == node.input[0] else kind
    return kind

"""What an ONNX graph answers with, told by its last operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autoopt.workloads.models.onnx_output import LABELS, LOGITS, PROBABILITIES, meaning_of

onnx = pytest.importorskip("onnx")
helper = pytest.importorskip("onnx.helper")


def graph(*steps: Any, functions: Any = ()) -> Any:
    """A model whose input x goes through these steps: the name of an operation, or that with all its values."""
    nodes, value = [], "x"
    for index, step in enumerate(steps):
        kind, inputs, attributes = (step, (None,), {}) if isinstance(step, str) else step
        domain = "mine" if kind == "Decided" else ""
        names = [value if name is None else name for name in inputs]
        nodes.append(helper.make_node(kind, names, [f"v{index}"], domain=domain, **attributes))
        value = f"v{index}"
    items = [helper.make_tensor_value_info(name, 1, None) for name in ("x", value)]
    constants = [
        onnx.numpy_helper.from_array(np.float32(1), "one"),
        onnx.numpy_helper.from_array(np.ones(2, int), "by"),
    ]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("mine", 1)]
    made = helper.make_graph(nodes, "net", items[:1], items[1:], constants)
    return helper.make_model(made, opset_imports=opsets, functions=functions)


DECIDED = helper.make_function(
    "mine", "Decided", ["a"], ["b"], [helper.make_node("Softmax", ["a"], ["b"])], [helper.make_opsetid("", 20)]
)
SOFT = ("Softmax", (None,), {"axis": 1})


@pytest.mark.parametrize(
    ("steps", "kind", "operation"),
    [
        ((), LOGITS, None),
        (("Relu",), LOGITS, None),
        (("Relu", SOFT), PROBABILITIES, "Softmax"),
        (("Sigmoid",), PROBABILITIES, "Sigmoid"),
        ((SOFT, "Identity", ("Reshape", (None, "by"), {}), ("Cast", (None,), {"to": 1})), PROBABILITIES, "Softmax"),
        (("Sigmoid", "Transpose", "Squeeze", ("Unsqueeze", (None, "by"), {})), PROBABILITIES, "Sigmoid"),
        ((SOFT, "Relu", ("Add", (None, "one"), {})), LOGITS, None),
        ((SOFT, ("MatMul", (None, "x"), {})), LOGITS, None),
        (("LogSoftmax",), LOGITS, None),
        (("ArgMax", ("Cast", (None,), {"to": 1})), LABELS, "ArgMax"),
        (("Sigmoid", ("Greater", (None, "one"), {}), ("Cast", (None,), {"to": 1})), LABELS, "Greater"),
        (("Sigmoid", ("Sub", ("one", None), {}), ("Concat", (None, "v0"), {"axis": 1})), PROBABILITIES, "Sigmoid"),
        ((SOFT, ("Sub", (None, "one"), {})), LOGITS, None),
        (("Sigmoid", ("Concat", (None, "x"), {"axis": 1})), LOGITS, None),
        (("Exp", ("ReduceSum", ("v0",), {}), ("Div", ("v0", "v1"), {})), PROBABILITIES, "Softmax"),
        (("Decided",), PROBABILITIES, "Softmax"),
    ],
)
def test_the_last_operation_tells(steps: Any, kind: str, operation: str | None) -> None:
    """Softmax and sigmoid make probabilities, whatever only moves them; what is calculated from them is none."""
    found = meaning_of(graph(*steps, functions=[DECIDED]))
    assert (found.kind, found.operation) == (kind, operation)


def test_a_long_chain_is_followed() -> None:
    """A thousand steps that change nothing hide no softmax."""
    assert meaning_of(graph("Softmax", *["Identity"] * 2000)).kind == PROBABILITIES

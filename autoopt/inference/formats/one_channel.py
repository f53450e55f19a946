"""An ONNX graph that answers with the foreground alone: a background put beside it, so that it has two classes.

Beside a logit stands 0, since softmax of (0, x) is the sigmoid of x; beside a probability p stands 1 - p.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

NAME = "autoopt/background"
PADS_ARE_INPUTS = 11
"""The version of the operators since which Pad takes its widths as an input."""


def is_one_channel(model: onnx.ModelProto) -> bool:
    """Whether the first output has a second axis, of size one."""
    sizes = model.graph.output[0].type.tensor_type.shape.dim
    return len(sizes) > 1 and sizes[1].dim_value == 1


def with_background(model: onnx.ModelProto, *, probabilities: bool) -> onnx.ModelProto:
    """A copy of the model that answers with background and foreground, (n, 2[, *sizes]); see `is_one_channel`."""
    import onnx
    from onnx import helper, numpy_helper

    found = onnx.ModelProto()
    found.CopyFrom(model)
    output = found.graph.output[0]
    axes = len(output.type.tensor_type.shape.dim)
    before = output.name
    if probabilities:
        one = numpy_helper.from_array(np.array(1, np.float32), f"{NAME}/one")
        found.graph.initializer.append(one)
        nodes = [
            helper.make_node("Sub", [one.name, before], [f"{NAME}/rest"], f"{NAME}/rest"),
            helper.make_node("Concat", [f"{NAME}/rest", before], [NAME], NAME, axis=1),
        ]
    else:
        widths = [0, 1, *([0] * (2 * axes - 2))]
        opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 1)
        if opset >= PADS_ARE_INPUTS:
            pads = numpy_helper.from_array(np.array(widths, np.int64), f"{NAME}/widths")
            found.graph.initializer.append(pads)
            nodes = [helper.make_node("Pad", [before, pads.name], [NAME], NAME)]
        else:
            nodes = [helper.make_node("Pad", [before], [NAME], NAME, pads=widths)]
    found.graph.node.extend(nodes)
    output.name = NAME
    output.type.tensor_type.shape.dim[1].dim_value = 2
    return found


def beside(answer: np.ndarray, *, probabilities: bool) -> np.ndarray:
    """What such a graph answers where the original answered with (n, 1[, *sizes])."""
    rest = 1 - answer if probabilities else np.zeros_like(answer)
    return np.concatenate([rest, answer], axis=1)

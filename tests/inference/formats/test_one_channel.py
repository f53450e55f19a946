"""Graphs that answer with the foreground alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from autoopt.inference.formats.one_channel import beside, is_one_channel, with_background

onnx = pytest.importorskip("onnx")


def graph(opset: int, classes: int = 1, sizes: tuple[Any, ...] = ("h", "w"), last: str = "Identity") -> Any:
    """A graph that answers with the first channels of its image, through one last operation."""
    from onnx import TensorProto, helper

    shape = ("n", classes, *sizes)
    taken = helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)
    given = helper.make_tensor_value_info("answer", TensorProto.FLOAT, shape)
    made = helper.make_graph([helper.make_node(last, ["image"], ["answer"])], "g", [taken], [given])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=4)


@pytest.mark.parametrize("opset", [9, 10, 11, 13, 18, 21])
@pytest.mark.parametrize("probabilities", [False, True])
@pytest.mark.parametrize("sizes", [(), ("h", "w"), (4, 4, 4)])
def test_a_background_is_put_beside_it(opset: int, probabilities: bool, sizes: tuple[Any, ...]) -> None:
    """In every version of the operators and of every rank the file answers with two classes, and says so."""
    from onnx.reference import ReferenceEvaluator

    model = graph(opset, sizes=sizes)
    assert is_one_channel(model)
    whole = with_background(model, probabilities=probabilities)
    onnx.checker.check_model(whole, full_check=True)
    assert not is_one_channel(whole) and whole.graph.output[0].type.tensor_type.shape.dim[1].dim_value == 2
    image = np.random.default_rng(0).random((1, 1, *(4 for _ in sizes)), np.float32)
    (answer,) = ReferenceEvaluator(whole).run(None, {"image": image})
    assert np.array_equal(answer, beside(image, probabilities=probabilities))
    assert np.allclose(answer.sum(axis=1), 1) if probabilities else not answer[:, 0].any()
    assert len(model.graph.node) == 1  # the original stays as it is


def test_more_channels_are_left_as_they_are() -> None:
    """Two or more channels are classes already."""
    assert not is_one_channel(graph(13, classes=2))

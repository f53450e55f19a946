"""Finished ONNX files of every form, asked as they came and in the form that pipelines take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoopt.inference.formats.finished_onnx import (
    LEAST_OPSET,
    caller,
    has_channels_last,
    inputs_of,
    prepared,
    raised,
    sizes_of,
)

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

WEIGHT = np.random.default_rng(1).normal(size=(2, 3, 3, 3)).astype(np.float32)


def net(
    nodes: Sequence[Any],
    taken: Sequence[Any],
    given: Sequence[tuple[str, Sequence[Any]]],
    *,
    opset: int = 17,
    kind: int = 1,
    listed: bool = False,
    weights: Sequence[Any] = (),
) -> Any:
    """A graph of these nodes from "image" to the outputs `given`; `listed` names its weights among the inputs."""
    from onnx import helper

    own = [onnx.numpy_helper.from_array(WEIGHT.astype(np.float16) if kind == 10 else WEIGHT, "weight"), *weights]
    inputs = [helper.make_tensor_value_info("image", kind, taken)]
    if listed:
        inputs.insert(0, helper.make_tensor_value_info("weight", kind, WEIGHT.shape))
    outputs = [helper.make_tensor_value_info(name, kind, sizes) for name, sizes in given]
    graph = helper.make_graph(list(nodes), "net", inputs, outputs, own)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=4 if opset < 13 else 8)


def node(kind: str, taken: Sequence[str], given: str, **attributes: Any) -> Any:
    from onnx import helper

    return helper.make_node(kind, list(taken), [given], given, **attributes)


CONV = node("Conv", ("image", "weight"), "logits", pads=[1, 1, 1, 1])


def plain(**more: Any) -> Any:
    return net([CONV], ("n", 3, 8, 8), [("logits", ("n", 2, 8, 8))], **more)


def channels_last() -> Any:
    nodes = [
        node("Transpose", ("image",), "first", perm=[0, 3, 1, 2]),
        node("Conv", ("first", "weight"), "maps", pads=[1, 1, 1, 1]),
        node("Transpose", ("maps",), "logits", perm=[0, 2, 3, 1]),
    ]
    return net(nodes, (1, 8, 8, 3), [("logits", (1, 8, 8, 2))])


def fixed_batch() -> Any:
    shape = onnx.numpy_helper.from_array(np.array([4, 2, 8, 8]), "shape")
    nodes = [node("Conv", ("image", "weight"), "maps", pads=[1, 1, 1, 1]), node("Reshape", ("maps", "shape"), "logits")]
    return net(nodes, (4, 3, 8, 8), [("logits", (4, 2, 8, 8))], weights=[shape])


def two_outputs() -> Any:
    nodes = [CONV, node("AveragePool", ("logits",), "half", kernel_shape=[2, 2], strides=[2, 2])]
    return net(nodes, ("n", 3, 8, 8), [("half", ("n", 2, 4, 4)), ("logits", ("n", 2, 8, 8))])


def upsampled(opset: int, mode: str) -> Any:
    scales = onnx.numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    kind = "Upsample" if opset < 10 else "Resize"
    nodes = [
        node("Conv", ("image", "weight"), "maps", pads=[1, 1, 1, 1], strides=[2, 2]),
        node(kind, ("maps", "scales"), "logits", mode=mode),
    ]
    return net(nodes, ("n", 3, 8, 8), [("logits", ("n", 2, 8, 8))], opset=opset, weights=[scales])


FORMS: dict[str, Callable[[], Any]] = {
    "plain": plain,
    "weights among the inputs": lambda: plain(listed=True, opset=9),
    "channels last": channels_last,
    "a fixed batch": fixed_batch,
    "float16": lambda: plain(kind=10),
    "operators of version 9": lambda: plain(opset=9),
    "operators of version 22": lambda: plain(opset=22),
    "nearest of version 9": lambda: upsampled(9, "nearest"),
    "linear of version 9": lambda: upsampled(9, "linear"),
    "linear of version 10": lambda: upsampled(10, "linear"),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_answers_as_it_came(tmp_path: Path, form: str) -> None:
    """In the one form that pipelines take, each file gives the answers that it gave in its own."""
    import onnxruntime

    model, path = FORMS[form](), tmp_path / "net.onnx"
    onnx.save(model, path)
    before = model.SerializeToString()
    found = raised(prepared(model))
    assert model.SerializeToString() == before
    onnx.checker.check_model(found, full_check=True)
    (taken,) = inputs_of(found)
    assert sizes_of(taken)[1:] == (3, 8, 8) and sizes_of(taken)[0] in (None, 1)
    assert sizes_of(found.graph.output[0])[1:] == (2, 8, 8)
    assert {item.type.tensor_type.elem_type for item in (taken, found.graph.output[0])} == {1}
    assert next(item.version for item in found.opset_import if item.domain == "") >= LEAST_OPSET
    image = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    session = onnxruntime.InferenceSession(found.SerializeToString(), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {taken.name: image})
    expected = caller(path)(image)
    assert expected.shape == (1, 2, 8, 8) and expected.dtype == np.float32
    np.testing.assert_allclose(answer, expected, rtol=1e-3, atol=1e-2 if form == "float16" else 1e-5)


def test_one_of_several_outputs_is_kept(tmp_path: Path) -> None:
    """The output that is named, without what only the others need; another name is an error."""
    model, path = two_outputs(), tmp_path / "net.onnx"
    onnx.save(model, path)
    found = prepared(model, "logits")
    assert [item.name for item in found.graph.output] == ["logits"]
    assert [item.op_type for item in found.graph.node] == ["Conv"]
    image = np.ones((1, 3, 8, 8), np.float32)
    assert caller(path, "logits")(image).shape == (1, 2, 8, 8) and caller(path)(image).shape == (1, 2, 4, 4)
    with pytest.raises(KeyError):
        prepared(model, "other")


def refusing(model: Any, version: int) -> Any:
    raise onnx.version_converter.ConvertError("no adapter")


def wrong(model: Any, version: int) -> Any:
    found = onnx.version_converter.convert_version(model, version)
    found.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(2 * WEIGHT, "weight"))
    return found


def broken(model: Any, version: int) -> Any:
    found = onnx.version_converter.convert_version(model, version)
    found.graph.node[0].op_type = "NoSuchOperation"
    return found


@pytest.mark.parametrize("convert", [refusing, wrong, broken])
def test_what_cannot_be_raised_stays_as_it_is(convert: Callable[[Any, int], Any]) -> None:
    """A converter that refuses a graph, changes its answers or breaks it costs no model: the old operators stay."""
    model = prepared(plain(opset=11))
    assert raised(model, convert) == model
    assert raised(model).opset_import[0].version == LEAST_OPSET


@pytest.mark.parametrize(
    ("sizes", "last"),
    [
        ((1, 64, 64, 3), True),
        ((None, None, None, 1), True),
        ((1, 32, 64, 64, 1), True),
        ((1, 3, 64, 64), False),
        ((None, 3, None, None), False),
        ((1, 1, 64, 4), False),
        ((1, 64, 64, 64), False),
        ((1, 3), False),
    ],
)
def test_channels_are_last_where_nothing_else_can_be_meant(sizes: tuple[int | None, ...], last: bool) -> None:
    """A short last axis behind a long second one has the channels; where both are short, the second has."""
    assert has_channels_last(sizes) is last

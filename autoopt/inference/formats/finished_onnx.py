"""A finished ONNX file brought into the one form that pipelines take, and the file itself asked in that form.

That form: one input (n, channels, *sizes) and one output, both float32, a free batch, weights not among the inputs,
and operators of version 13 or later (`raised`). Each change is exact, and whoever writes the graph holds its answers
against those of the file as it came (`caller`), for which numpy changes the axes and types of images.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.inference.formats.base import Call
from autoopt.inference.formats.decision import undecided

if TYPE_CHECKING:
    import onnx

NAME = "autoopt"
FLOAT, FLOAT16, INT64 = 1, 10, 7  # onnx.TensorProto
LEAST_OPSET = 13
"""The version of the operators from which on quantizers treat each channel by itself."""
RESIZE_CHANGED = 11
"""The version since which Resize places pixels by their centres unless told otherwise, which the converter forgets."""
LISTED_BEFORE = 4
"""The version of the file format up to which weights had to be listed among the inputs."""
MOST_CHANNELS = 4
"""An image whose last axis is no longer than this, and whose second one is longer, has its channels last."""
STANDARD = ("", "ai.onnx")
Sizes = tuple[int | None, ...]
Convert = Callable[["onnx.ModelProto", int], "onnx.ModelProto"]
SAME = 1e-4
"""How far answers before and after may differ, as a share of themselves and of the largest."""
_log = logging.getLogger("autoopt")


def prepared(model: onnx.ModelProto, output: str | None = None) -> onnx.ModelProto:
    """A copy of the model in the form above but for its operators, with the output called `output`, else its first.

    An ArgMax at its end is taken off, as `decision.undecided` does. Raises KeyError for an output that is not there.
    """
    found = with_output(model, output)
    found = undecided(found) or found
    if len(found.graph.input) == 1 and found.graph.output:
        _free_batch(found)
        _channels_first(found)
        _float32(found)
    return found


def raised(model: onnx.ModelProto, convert: Convert | None = None) -> onnx.ModelProto:
    """A prepared model with operators of a version that quantizers know; as it is where that changes its answers.

    Its input must have all sizes but the number of images. `convert` is onnx's converter, which refuses some graphs and
    is wrong about others: what it makes must answer to noise as before, by ONNX Runtime.
    """
    import onnx
    from onnx import version_converter

    version = next((item.version for item in model.opset_import if item.domain in STANDARD), 1)
    if version >= LEAST_OPSET or model.functions:
        return model
    try:
        found = (convert or version_converter.convert_version)(model, LEAST_OPSET)
        if version < RESIZE_CHANGED:
            _resize_as_before(found)
        onnx.checker.check_model(found)
        return found if _agree(model, found) else model
    except Exception:  # converter, checker and runtime raise many kinds: the file as it is will do
        _log.info("the operators of version %d stay: they could not be raised to %d", version, LEAST_OPSET)
        return model


def _agree(one: onnx.ModelProto, other: onnx.ModelProto) -> bool:
    """Whether two models with one input and one output give the same answer to noise."""
    import onnxruntime

    taken = one.graph.input[0]
    noise = np.random.default_rng(0).standard_normal([size or 1 for size in sizes_of(taken)]).astype(np.float32)
    answers = []
    for model in (one, other):
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        answers.append(np.asarray(session.run(None, {taken.name: noise})[0]))
    before, after = answers
    largest = float(np.abs(before).max(initial=0.0))
    return before.shape == after.shape and np.allclose(before, after, rtol=SAME, atol=SAME * largest)


def with_output(model: onnx.ModelProto, output: str | None) -> onnx.ModelProto:
    """A copy of the model with one output, and without weights among its inputs. Raises KeyError as `prepared`."""
    import onnx

    found = onnx.ModelProto()
    found.CopyFrom(model)
    _without_listed_weights(found)
    if output is not None:
        _keep_output(found, output)
    return found


def inputs_of(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The inputs that are no weights."""
    weights = {item.name for item in model.graph.initializer}
    return [item for item in model.graph.input if item.name not in weights]


def sizes_of(value: onnx.ValueInfoProto) -> Sizes:
    """The sizes of an input or output; None where one is free."""
    dimensions = value.type.tensor_type.shape.dim
    return tuple(item.dim_value if item.HasField("dim_value") and item.dim_value > 0 else None for item in dimensions)


def has_channels_last(sizes: Sizes) -> bool:
    """Whether an image of these sizes, (n, *sizes, channels), has its channels last."""
    if len(sizes) not in (4, 5):
        return False
    second, last = sizes[1], sizes[-1]
    return last is not None and last <= MOST_CHANNELS and (second is None or second > MOST_CHANNELS)


def caller(path: Path, output: str | None = None) -> Call:
    """The file as it came, asked with float32 images (n, channels, *sizes); answers in the same order of axes.

    A file that takes a fixed number of images at once is given its one image that many times.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    taken = session.get_inputs()[0]
    sizes = tuple(size if isinstance(size, int) else None for size in taken.shape)
    last, half = has_channels_last(sizes), taken.type == "tensor(float16)"
    wanted = [output or session.get_outputs()[0].name]

    def ask(batch: np.ndarray) -> np.ndarray:
        given = np.moveaxis(batch, 1, -1) if last else batch
        count = sizes[0] or len(given)
        repeated = np.repeat(given, count, axis=0) if count != len(given) else given
        answer = np.asarray(session.run(wanted, {taken.name: repeated.astype(np.float16 if half else np.float32)})[0])
        answer = answer[: len(given)] if count != len(given) else answer
        turned = np.moveaxis(answer, -1, 1) if last and answer.ndim == batch.ndim else answer
        return turned.astype(np.float32) if turned.dtype == np.float16 else turned

    return ask


def _without_listed_weights(model: onnx.ModelProto) -> None:
    kept = inputs_of(model)
    if len(kept) < len(model.graph.input):
        del model.graph.input[:]
        model.graph.input.extend(kept)
        model.ir_version = max(model.ir_version, LISTED_BEFORE)


def _keep_output(model: onnx.ModelProto, name: str) -> None:
    """Leave out all outputs but one, and what only they need."""
    (kept,) = [item for item in model.graph.output if item.name == name] or [None]
    if kept is None:
        raise KeyError(name)
    del model.graph.output[:]
    model.graph.output.append(kept)
    needed, nodes = {name}, []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            nodes.append(node)
            needed |= {*node.input, *_inner(node)}
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))


def _inner(node: onnx.NodeProto) -> Iterator[str]:
    """The names that the branches and loops of a node read."""
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from inner.input
                yield from _inner(inner)
            yield from (item.name for item in graph.output)


def _free_batch(model: onnx.ModelProto) -> None:
    """Let a graph for several images at once take one."""
    import onnx

    graph = model.graph
    count = sizes_of(graph.input[0])[:1]
    if count in ((), (None,), (1,)):
        return
    for value in (graph.input[0], graph.output[0]):
        dimensions = value.type.tensor_type.shape.dim
        if dimensions and dimensions[0].dim_value == count[0]:
            dimensions[0].dim_value = 1
    del graph.value_info[:]
    shapes = {node.input[1] for node in graph.node if node.op_type in ("Reshape", "Expand")}
    constants = [(item.name, item) for item in graph.initializer]
    constants += [(node.output[0], node.attribute[0].t) for node in graph.node if node.op_type == "Constant"]
    for name, tensor in constants:
        if name in shapes and tensor.data_type == INT64 and not tensor.external_data:
            values = onnx.numpy_helper.to_array(tensor).copy()
            if values.size and values[0] == count[0]:
                values[0] = 1
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _channels_first(model: onnx.ModelProto) -> None:
    """Turn the axes before and behind a graph whose channels are last."""
    from onnx import helper

    graph = model.graph
    taken, given = graph.input[0], graph.output[0]
    sizes = sizes_of(taken)
    if not has_channels_last(sizes):
        return
    axes = len(sizes)
    to_last, to_first = [0, *range(2, axes), 1], [0, axes - 1, *range(1, axes - 1)]
    _put_before(
        model,
        lambda name: helper.make_node("Transpose", [name], [taken.name], f"{NAME}/to_last", perm=to_last),
        to_first,
    )
    if len(sizes_of(given)) == axes:
        _put_behind(
            model,
            lambda name: helper.make_node("Transpose", [given.name], [name], f"{NAME}/to_first", perm=to_first),
            to_first,
        )


def _float32(model: onnx.ModelProto) -> None:
    """Change the type before and behind a graph that takes and gives float16."""
    from onnx import helper

    graph = model.graph
    taken, given = graph.input[0], graph.output[0]
    if taken.type.tensor_type.elem_type == FLOAT16:
        node = _put_before(
            model, lambda name: helper.make_node("Cast", [name], [taken.name], f"{NAME}/to_half", to=FLOAT16)
        )
        node.type.tensor_type.elem_type = FLOAT
    if given.type.tensor_type.elem_type == FLOAT16:
        node = _put_behind(
            model, lambda name: helper.make_node("Cast", [given.name], [name], f"{NAME}/to_float", to=FLOAT)
        )
        node.type.tensor_type.elem_type = FLOAT


def _put_before(
    model: onnx.ModelProto, node: Callable[[str], onnx.NodeProto], order: Sequence[int] | None = None
) -> onnx.ValueInfoProto:
    """Let the graph begin with another node, which reads the new input; its sizes are those of before in `order`."""
    graph, name = model.graph, _free_name(model, "image")
    nodes = [node(name), *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    return _renamed(graph.input, name, order)


def _put_behind(
    model: onnx.ModelProto, node: Callable[[str], onnx.NodeProto], order: Sequence[int] | None = None
) -> onnx.ValueInfoProto:
    """Let the graph end with another node, which makes the new output."""
    name = _free_name(model, "answer")
    model.graph.node.append(node(name))
    return _renamed(model.graph.output, name, order)


def _renamed(values: Any, name: str, order: Sequence[int] | None) -> onnx.ValueInfoProto:
    """The one value of a list under another name, its dimensions in another order."""
    import onnx

    before = values[0]
    new = onnx.ValueInfoProto()
    new.CopyFrom(before)
    new.name = name
    if order is not None:
        dimensions = [before.type.tensor_type.shape.dim[axis] for axis in order]
        del new.type.tensor_type.shape.dim[:]
        new.type.tensor_type.shape.dim.extend(dimensions)
    del values[:]
    values.append(new)
    found: onnx.ValueInfoProto = values[0]
    return found


def _free_name(model: onnx.ModelProto, word: str) -> str:
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)}
    name = f"{NAME}/{word}"
    while name in taken:
        name += "_"
    return name


def _resize_as_before(model: onnx.ModelProto) -> None:
    """Let Resize do what it, and Upsample, did before version 11: the corner of the image stays in its place."""
    from onnx import helper

    settings = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    for node in model.graph.node:
        if node.op_type == "Resize":
            kept = [item for item in node.attribute if item.name not in settings]
            del node.attribute[:]
            node.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in settings.items())])

"""ONNX files that hide something: weights and operators where only a careful reader looks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoopt.errors import WorkloadError
from autoopt.workloads.models.onnx_file import matches, read_shape

onnx = pytest.importorskip("onnx")
helper = pytest.importorskip("onnx.helper")


def net(
    path: Path, given: Any = (1, 2, "h", "w"), nodes: Any = (), inputs: tuple[str, ...] = ("image",), **more: Any
) -> Path:
    """A 1x1 convolution of a grey image of any size, with these further nodes."""
    weight = onnx.numpy_helper.from_array(np.ones((2, 1, 1, 1), np.float32), "weight")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight"], ["logits"]), *nodes],
        "net",
        [helper.make_tensor_value_info(name, 1, (1, 1, "h", "w")) for name in inputs],
        [helper.make_tensor_value_info("logits", 1, given)],
        [weight],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("mine", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10, **more), path)
    return path


def test_free_sizes_are_none(tmp_path: Path) -> None:
    """What the file leaves open is open; the suffix alone says that a model is meant to be ONNX."""
    shape = read_shape(net(tmp_path / "net.onnx"), "segmentation")
    assert (shape.channels, shape.classes, shape.tile) == (1, 2, (None, None))
    assert matches("a/net.onnx") and not matches("nets.py:build")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"inputs": ("image", "prompt")}, "must have one input, it has 2: image, prompt"),
        ({"given": (1, 1, "h", "w")}, "at least two classes"),
        ({"given": (1, 2)}, r"must be \(n, classes, \*sizes\), it is \(1, 2\)"),
    ],
)
def test_what_no_pipeline_can_use(tmp_path: Path, change: dict[str, Any], match: str) -> None:
    """Several inputs are named, and so is an output of another form."""
    with pytest.raises(WorkloadError, match=match):
        read_shape(net(tmp_path / "net.onnx", **change), "segmentation")


def test_operators_of_the_model_itself_are_standard(tmp_path: Path) -> None:
    """A function that the file defines is no foreign operator; one that only a branch uses is."""
    twice = helper.make_function(
        "mine", "Twice", ["x"], ["y"], [helper.make_node("Add", ["x", "x"], ["y"])], [helper.make_opsetid("", 20)]
    )
    own = helper.make_node("Twice", ["image"], ["unused"], domain="mine")
    read_shape(net(tmp_path / "own.onnx", nodes=[own], functions=[twice]), "segmentation")
    hidden = helper.make_node("Launch", ["image"], ["inner"], domain="mine")
    branch = helper.make_graph([hidden], "branch", [], [helper.make_tensor_value_info("inner", 1, None)])
    condition = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("yes", 9, [], [True]))
    choice = helper.make_node("If", ["yes"], ["chosen"], then_branch=branch, else_branch=branch)
    path = net(tmp_path / "hidden.onnx", nodes=[condition, choice])
    with pytest.raises(WorkloadError, match="standard operators only, it needs those of mine"):
        read_shape(path, "segmentation")


@pytest.mark.parametrize("place", ["../secret.bin", "/etc/hostname", "inside/../../secret.bin", "link.bin"])
@pytest.mark.parametrize("hidden", [False, True])
def test_weights_from_elsewhere_are_not_read(tmp_path: Path, place: str, hidden: bool) -> None:
    """A path that leaves the folder is refused: relative, absolute, by a link, and in a constant inside the graph."""
    folder = tmp_path / "models"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(np.ones(2, np.float32).tobytes())
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")
    constant = helper.make_node(
        "Constant", [], ["unused"], value=onnx.numpy_helper.from_array(np.ones(2, np.float32), "c")
    )
    path = net(folder / "net.onnx", nodes=[constant])
    model = onnx.load(str(path))
    tensor = model.graph.node[1].attribute[0].t if hidden else model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(WorkloadError, match="its weights must lie in a file beside it, it names"):
        read_shape(path, "segmentation")


def test_weights_beside_the_file_are_read(tmp_path: Path) -> None:
    """The side file that exporters write for large models is fine."""
    model = onnx.load(str(net(tmp_path / "net.onnx")))
    onnx.save(model, tmp_path / "big.onnx", save_as_external_data=True, location="big.onnx.data", size_threshold=0)
    assert (tmp_path / "big.onnx.data").is_file()
    assert read_shape(tmp_path / "big.onnx", "segmentation").classes == 2

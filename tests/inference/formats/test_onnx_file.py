"""An ONNX file that must not be opened is refused before any library opens it, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.errors import Unsupported
from autoopt.inference.formats.onnx_file import check_onnx_file
from tests.deploy.bundles import build_onnx

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def model(folder: Path) -> Any:
    """The tiny graph of the bundles."""
    build_onnx(folder)
    return onnx.load(folder / "model.onnx")


def saved(folder: Path, changed: Any) -> Path:
    onnx.save(changed, folder / "model.onnx")
    return folder / "model.onnx"


def outside(tensor: Any, location: str) -> Any:
    """A tensor whose values lie in another file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def large(name: str = "large", *sizes: int) -> Any:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes or (1 << 20, 1 << 20))


def in_weights(graph: Any, tensor: Callable[[Any], Any]) -> None:
    tensor(graph.initializer[0])


def in_constant(graph: Any, tensor: Callable[[Any], Any]) -> None:
    value = numpy_helper.from_array(np.zeros(3, np.float32), "value")
    tensor(value)
    graph.node.append(helper.make_node("Constant", [], ["constant"], value=value))


def in_branch(graph: Any, tensor: Callable[[Any], Any]) -> None:
    value = numpy_helper.from_array(np.zeros(3, np.float32), "value")
    tensor(value)
    branch = helper.make_graph([], "branch", [], [helper.make_tensor_value_info("value", 1, [3])], [value])
    graph.node.append(helper.make_node("If", ["tile"], ["chosen"], then_branch=branch, else_branch=branch))


def in_sparse(graph: Any, tensor: Callable[[Any], Any]) -> None:
    values, places = (numpy_helper.from_array(np.ones(1, kind), name) for kind, name in ((np.float32, "v"), (int, "")))
    tensor(values)
    graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [9]))


PLACES = {"weights": in_weights, "a constant": in_constant, "a branch": in_branch, "a sparse tensor": in_sparse}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "location", ["/etc/passwd", "../secret", "a/../../secret", "C:\\x", "\\\\host\\x", "", "link/x"]
)
def test_weights_outside_of_the_folder_are_refused(tmp_path: Path, place: str, location: str) -> None:
    """Weights that lie elsewhere are refused wherever in a graph they are used, also behind a link."""
    graph = model(tmp_path)
    (tmp_path / "link").symlink_to("/etc")
    PLACES[place](graph.graph, lambda tensor: outside(tensor, location))

    with pytest.raises(Unsupported, match=r"the weights of a graph must lie in its folder, .* do not use it"):
        check_onnx_file(saved(tmp_path, graph))


def test_weights_beside_the_graph_are_taken(tmp_path: Path) -> None:
    """A large network has its weights in a second file of its folder; where that is missing it is named."""
    graph = model(tmp_path)
    outside(graph.graph.initializer[0], "model.onnx.data")
    file = saved(tmp_path, graph)
    with pytest.raises(Unsupported, match=r"takes weights from 'model\.onnx\.data', which is missing"):
        check_onnx_file(file)

    (tmp_path / "model.onnx.data").write_bytes(b"\0" * 100)
    check_onnx_file(file)


@pytest.mark.parametrize("inside", [False, True])
def test_operators_of_other_libraries_are_refused(tmp_path: Path, inside: bool) -> None:
    """An operator of an unknown domain is named, also inside a function of the model; such functions are not."""
    graph = model(tmp_path)
    strange = helper.make_node("Run", ["x"], ["y"], domain="ai.example.shell")
    node = strange
    if inside:
        graph.functions.append(helper.make_function("own", "F", ["x"], ["y"], [strange], [helper.make_opsetid("", 17)]))
        node = helper.make_node("F", ["tile"], ["z"], domain="own")
    graph.graph.node.append(node)

    with pytest.raises(Unsupported, match=r"has 'Run' of 'ai\.example\.shell', which needs a library"):
        check_onnx_file(saved(tmp_path, graph))
    if inside:
        strange.domain = graph.functions[0].node[0].domain = ""
        check_onnx_file(saved(tmp_path, graph))


@pytest.mark.parametrize("sizes", [(1 << 20, 1 << 20), (-1,)])
@pytest.mark.parametrize("where", ["input", "output", "value_info"])
def test_sizes_that_no_host_could_hold_are_refused(tmp_path: Path, where: str, sizes: tuple[int, ...]) -> None:
    """A declared shape of more than two thousand million values, or of a size below zero, is named."""
    graph = model(tmp_path)
    getattr(graph.graph, where).append(large("wide", *sizes))

    with pytest.raises(Unsupported, match=r"a tensor must have at most .* values, 'wide' in model\.onnx has the shape"):
        check_onnx_file(saved(tmp_path, graph))


def test_weights_that_claim_to_be_huge_are_refused(tmp_path: Path) -> None:
    """A tensor that declares more values than it has room for is refused before anything is reserved for it."""
    graph = model(tmp_path)
    graph.graph.initializer[0].dims[:] = [1 << 31, 1 << 31]

    with pytest.raises(Unsupported, match="'weights' in"):
        check_onnx_file(saved(tmp_path, graph))


@given(data=st.data())
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A file that was cut or changed anywhere is passed on or refused, never another error."""
    folder = tmp_path_factory.mktemp("bytes")
    build_onnx(folder)
    file = folder / "model.onnx"
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(Unsupported):
        check_onnx_file(file)

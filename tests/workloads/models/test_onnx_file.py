"""ONNX files that hide something: weights and operators where only a careful reader looks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autoopt.compress.export import load_source
from autoopt.errors import DataError, WorkloadError
from autoopt.testing import workload_problems
from autoopt.workloads.loading import load_again, load_workload
from autoopt.workloads.models.onnx_file import matches, read_shape
from tests.workloads.models.bundles import TASK, squares

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


def test_a_time_series_is_taken(tmp_path: Path) -> None:
    """A file of one axis is a model of (n, channels, time), on data of one axis only."""
    weight = onnx.numpy_helper.from_array(np.array([[[-1.0]], [[1.0]]], np.float32), "weight")
    ends = [helper.make_tensor_value_info(name, 1, (1, size, 40)) for name, size in (("image", 1), ("logits", 2))]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weight"], ["logits"])], "net", *([end] for end in ends), [weight]
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), tmp_path / "net.onnx"
    )
    for index in range(10):
        series = np.random.default_rng(index).normal(size=(1, 40)).astype(np.float32)
        np.savez(tmp_path / f"c{index}.npz", series=series, label=(series[0] > 0).astype(np.uint8))
    workload = load_workload(f"model:{tmp_path / 'net.onnx'}", tmp_path, tmp_path / "home", {"task": "segmentation"})
    assert workload.pipeline.input_shape == (1, 1, 40) and workload.graph is not None
    assert workload_problems(workload) == []
    with pytest.raises(WorkloadError, match=r"takes 1D images, the data are 2D: store time series as `series`"):
        load_workload(f"model:{tmp_path / 'net.onnx'}", squares(tmp_path / "squares"), tmp_path / "home", TASK)


def test_free_sizes_are_none(tmp_path: Path) -> None:
    """What the file leaves open is open; the suffix alone says that a model is meant to be ONNX."""
    shape, output = read_shape(net(tmp_path / "net.onnx"), "segmentation")
    assert output is None
    assert (shape.channels, shape.classes, shape.tile) == (1, 2, (None, None))
    assert matches("a/net.onnx") and not matches("nets.py:build")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"inputs": ("image", "prompt")}, "must have one input, it has 2: image, prompt"),
        ({"given": (1, 2)}, r"must be \(n, classes, \*sizes\), it is \(1, 2\)"),
    ],
)
def test_what_no_pipeline_can_use(tmp_path: Path, change: dict[str, Any], match: str) -> None:
    """Several inputs are named, and so is an output of another form."""
    with pytest.raises(WorkloadError, match=match):
        read_shape(net(tmp_path / "net.onnx", **change), "segmentation")


def classifier(path: Path, count: int, **notes: str) -> Path:
    """The mean of a grey image as every logit of so many classes, with these notes in the file."""
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["maps"]),
        helper.make_node("GlobalAveragePool", ["maps"], ["means"]),
        helper.make_node("Flatten", ["means"], ["logits"]),
    ]
    weight = onnx.numpy_helper.from_array(np.ones((count, 1, 1, 1), np.float32), "weight")
    given = helper.make_tensor_value_info("logits", 1, ("n", count))
    taken = helper.make_tensor_value_info("image", 1, ("n", 1, 8, 8))
    graph = helper.make_graph(nodes, "net", [taken], [given], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)
    helper.set_model_props(model, notes)
    onnx.save(model, path)
    return path


def test_the_order_of_folders_called_by_numbers(tmp_path: Path) -> None:
    """The names in the file decide which folder is which answer, else an option; without either it is not guessed."""
    for index in range(48):
        folder = tmp_path / "data" / str(index % 12)
        folder.mkdir(parents=True, exist_ok=True)
        np.save(folder / f"{index}.npy", np.zeros((8, 8, 1), np.float32))

    def answer_of_ten(path: Path, **options: Any) -> int:
        found = load_workload(f"model:{path}", tmp_path / "data", tmp_path, {"task": "classification", **options})
        return int(next(case for case in found.splits.train if case.id.startswith("10/")).read().reference)

    text = sorted(str(number) for number in range(12))
    silent = classifier(tmp_path / "silent.onnx", 12)
    with pytest.raises(DataError, match="give the one that the model was trained with by --option order=text"):
        answer_of_ten(silent)
    assert (answer_of_ten(silent, order="text"), answer_of_ten(silent, order="number")) == (2, 10)
    assert answer_of_ten(silent, labels=",".join(text)) == 2
    assert answer_of_ten(classifier(tmp_path / "names.onnx", 12, classes=str(text))) == 2
    grades = {number: f"grade {number}" for number in range(12)}
    assert answer_of_ten(classifier(tmp_path / "grades.onnx", 12, names=str(grades))) == 10


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
    assert read_shape(tmp_path / "big.onnx", "segmentation")[0].classes == 2


@pytest.fixture(name="squares")
def squares_fixture(tmp_path: Path) -> Path:
    """Eight grey images of 32 x 32 with a bright square, as npz files."""
    return squares(tmp_path / "data")


class Bright(torch.nn.Module):  # type: ignore[misc,name-defined]
    """Takes what is above one half for the foreground."""

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Conv2d(1, 2, 1)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[[[-1.0]]], [[[1.0]]]]))
            self.head.bias.copy_(torch.tensor([0.5, -0.5]))

    def forward(self, batch: Any) -> Any:
        return self.head(batch)


def onnx_file(
    path: Path,
    shape: tuple[int | str, ...] = (1, 1, "h", "w"),
    kind: int = 1,
    domain: str = "",
    last: str | None = None,
) -> Path:
    """The bright network as an ONNX file with this input shape, and a last operation."""
    weight = onnx.numpy_helper.from_array(np.array([[[[-1.0]]], [[[1.0]]]], np.float32), "weight")
    bias = onnx.numpy_helper.from_array(np.array([0.5, -0.5], np.float32), "bias")
    node = onnx.helper.make_node("Conv", ["image", "weight", "bias"], ["logits"], domain=domain)
    after = [] if last is None else [onnx.helper.make_node(last, ["logits"], ["answer"], axis=1)]
    answer, classes = ("answer" if after else "logits"), (1 if last == "ArgMax" else 2)
    graph = onnx.helper.make_graph(
        [node, *after],
        "bright",
        [onnx.helper.make_tensor_value_info("image", kind, shape)],
        [onnx.helper.make_tensor_value_info(answer, 7 if last == "ArgMax" else kind, (shape[0], classes, *shape[2:]))],
        [weight, bias],
    )
    opsets = [onnx.helper.make_opsetid("", 20), *([onnx.helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def test_an_onnx_file_is_a_workload(tmp_path: Path, squares: Path) -> None:
    """Shapes come from the file and the data, labels from the masks; nothing can be built, and its origin reloads."""
    path = onnx_file(tmp_path / "net.onnx")
    workload = load_workload(f"model:{path}", squares, tmp_path, TASK)
    assert (workload.name, workload.labels, workload.build, workload.graph) == (
        "net",
        ("background", "label_1"),
        None,
        path,
    )
    assert workload.pipeline.tile == (32, 32) and workload.weights == path
    assert workload_problems(workload) == []
    assert workload.origin is not None and load_again(workload.origin).data_digest == workload.data_digest


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"shape": (1, 3, 32, 32)}, r"net\.onnx takes 3 channel\(s\), the images have 1"),
        ({"shape": (1, 1, 16, 16), "tile": "32x32"}, "tile=32x32 does not fit net.onnx, which takes 16x16"),
        ({"shape": (1, 1, 32, 32, 32)}, "takes 3D images, the data are 2D"),
        ({"kind": 11}, "the input image must be float32"),
        ({"domain": "my.ops"}, "must use standard operators only, it needs those of my.ops|must be a valid ONNX model"),
        ({"task": "classification"}, r"the output of a classification must be \(n, classes\)"),
        ({"labels": "a,b,c"}, "answers 2 classes, the data have 3: a, b, c"),
    ],
)
def test_onnx_files_that_do_not_fit(tmp_path: Path, squares: Path, change: dict[str, Any], match: str) -> None:
    """What does not fit is said with the file, what it has and what is needed."""
    made = {key: change[key] for key in ("shape", "kind", "domain") if key in change}
    path = onnx_file(tmp_path / "net.onnx", **made)
    options = {**TASK, **{key: change[key] for key in ("task", "tile", "labels") if key in change}}
    with pytest.raises(WorkloadError, match=match):
        load_workload(f"model:{path}", squares, tmp_path, options)


def test_a_softmax_in_the_file_is_told_once(tmp_path: Path, squares: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Outputs after a softmax are probabilities, said in a sentence; an option says otherwise, and then nothing is."""
    source = f"model:{onnx_file(tmp_path / 'soft.onnx', last='Softmax')}"
    workload = load_workload(source, squares, tmp_path, TASK)
    assert workload.pipeline.output == "probabilities"
    text = "soft.onnx ends with Softmax, so its outputs are taken for probabilities; "
    text += "--option output=logits if they are none"
    assert [item.getMessage() for item in caplog.records].count(text) == 1 and workload.remarks[-1] == text
    for said in ("logits", "probabilities"):
        told = load_workload(source, squares, tmp_path, {**TASK, "output": said})
        assert told.pipeline.output == said and text not in told.remarks
    plain = load_workload(f"model:{onnx_file(tmp_path / 'net.onnx')}", squares, tmp_path, TASK)
    assert plain.pipeline.output == "logits" and text not in plain.remarks


def test_a_file_that_decides_is_taken_without_its_decision(
    tmp_path: Path, squares: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An ArgMax at the end is taken off and that is said; the same values are decided on as in the file without it."""
    decided, plain = onnx_file(tmp_path / "decided.onnx", last="ArgMax"), onnx_file(tmp_path / "net.onnx")
    first, second = (load_workload(f"model:{path}", squares, tmp_path, TASK) for path in (decided, plain))
    assert first.pipeline == second.pipeline and first.remarks[-1].startswith("decided.onnx ends with ArgMax, which is")
    answers = [load_source(item, path).answers for item, path in ((first, decided), (second, plain))]
    for name, values in answers[0].items():
        np.testing.assert_array_equal(values, answers[1][name])
    told = load_workload(f"model:{decided}", squares, tmp_path, {**TASK, "output": "labels"})
    assert told.pipeline == first.pipeline and first.remarks[-1] not in told.remarks
    said = load_workload(f"model:{decided}", squares, tmp_path, {**TASK, "output": "probabilities"})
    assert said.pipeline.output == "probabilities"


def test_labels_that_cannot_be_undone_are_refused(tmp_path: Path, squares: Path) -> None:
    """A file that decides otherwise is refused with its last operation, and so is the option where nothing decides."""
    hard, plain = onnx_file(tmp_path / "hard.onnx", last="Hardmax"), onnx_file(tmp_path / "net.onnx")
    with pytest.raises(WorkloadError, match=r"answers with labels \(its last operation is Hardmax\): write the file"):
        load_workload(f"model:{hard}", squares, tmp_path, TASK)
    with pytest.raises(WorkloadError, match="it answers with logits: leave the option out"):
        load_workload(f"model:{plain}", squares, tmp_path, {**TASK, "output": "labels"})


def test_labels_that_are_others_than_those_of_the_values_are_refused(tmp_path: Path, squares: Path) -> None:
    """A file that joins labels after it has decided is not taken for one that only decides."""
    path = tmp_path / "joined.onnx"
    plain = load_workload(f"model:{onnx_file(tmp_path / 'net.onnx')}", squares, tmp_path, TASK)
    nodes = [
        helper.make_node("Concat", ["image"] * 2 + ["higher"], ["logits"], axis=1),
        helper.make_node("ArgMax", ["logits"], ["labels"], axis=1),
        helper.make_node("Cast", ["labels"], ["answer"], to=onnx.TensorProto.BOOL),
    ]
    nodes.insert(0, helper.make_node("Abs", ["image"], ["higher"]))  # the third class where the image is negative
    values = [("image", 1, (1, 1, "h", "w")), ("answer", onnx.TensorProto.BOOL, (1, 1, "h", "w"))]
    inputs, outputs = ([helper.make_tensor_value_info(*value)] for value in values)
    graph = helper.make_graph(nodes, "net", inputs, outputs)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    pipeline = replace(plain.pipeline, classes=3)
    with pytest.raises(WorkloadError, match="the largest of its values are not the labels that it gives"):
        load_source(replace(plain, graph=path, labels=("a", "b", "c"), pipeline=pipeline), path)


def test_a_file_that_is_no_onnx_model(tmp_path: Path, squares: Path) -> None:
    """Bytes that are no model are refused by name; so is a model without a task."""
    (tmp_path / "net.onnx").write_bytes(b"not a model")
    with pytest.raises(WorkloadError, match=r"net\.onnx must be a valid ONNX model"):
        load_workload(f"model:{tmp_path / 'net.onnx'}", squares, tmp_path, TASK)
    with pytest.raises(WorkloadError, match="needs --task"):
        load_workload(f"model:{onnx_file(tmp_path / 'good.onnx')}", squares, tmp_path)


def test_weights_of_an_onnx_file_must_lie_beside_it(tmp_path: Path, squares: Path) -> None:
    """A path in a model that leads elsewhere is not followed."""
    path = onnx_file(tmp_path / "net.onnx")
    model = onnx.load(str(path))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret.bin")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(WorkloadError, match=r"its weights must lie in a file beside it, it names '\.\./secret\.bin'"):
        load_workload(f"model:{path}", squares, tmp_path, TASK)


def test_a_file_that_takes_several_images_is_given_one(tmp_path: Path, squares: Path) -> None:
    """Its answers in the form of the pipeline are those of the file as it came, and that is said."""
    path = onnx_file(tmp_path / "net.onnx", shape=(4, 1, 32, 32))
    workload = load_workload(f"model:{path}", squares, tmp_path, TASK)
    assert workload.remarks[-1] == "net.onnx takes 4 images at once: it is given one"
    assert load_source(workload, path).answers["noise"].shape == (1, 2, 32, 32)


def test_one_of_several_outputs_is_named(tmp_path: Path, squares: Path) -> None:
    """Without a name both are listed; with one that output is the model's, also after it is loaded again."""
    half = helper.make_node("AveragePool", ["logits"], ["half"], kernel_shape=[2, 2], strides=[2, 2])
    path = net(tmp_path / "net.onnx", nodes=[half])
    model = onnx.load(path)
    model.graph.output.insert(0, helper.make_tensor_value_info("half", 1, (1, 2, "y", "x")))
    onnx.save(model, path)
    for output in (None, "probabilities"):
        with pytest.raises(WorkloadError, match="has 2: half, logits: say which is meant with --option output=NAME"):
            read_shape(path, "segmentation", output)
    options = {**TASK, "output": "logits", "tile": "32x32"}
    workload = load_workload(f"model:{path}", squares, tmp_path, options)
    assert workload.origin is not None and load_again(workload.origin).graph_output == "logits"
    assert load_source(workload, path).answers["noise"].shape == (1, 2, 32, 32)
    with pytest.raises(WorkloadError, match=r"must be one of logits, probabilities, labels, or the name .* got 'odd'"):
        read_shape(net(tmp_path / "one.onnx"), "segmentation", "odd")


def test_a_quantized_file_is_refused(tmp_path: Path) -> None:
    """A search that quantizes needs the floats; the runtimes do not agree on integers beyond their range."""
    scale = [onnx.numpy_helper.from_array(np.array(1, np.float32), "scale")]
    path = net(tmp_path / "net.onnx", nodes=[helper.make_node("QuantizeLinear", ["image", "scale"], ["integers"])])
    model = onnx.load(path)
    model.graph.initializer.extend(scale)
    onnx.save(model, path)
    with pytest.raises(WorkloadError, match=r"must be a float model, it is quantized already \(1 operations"):
        read_shape(path, "segmentation")

"""Somebody's model on somebody's data: ONNX files, MONAI bundles, builders; and what must never be run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoopt.errors import WeightsError, WorkloadError
from autoopt.inference.pipeline import predict
from autoopt.nets.weights import load_weights
from autoopt.testing import workload_problems
from autoopt.workloads.loading import load_again, load_workload
from autoopt.workloads.models.bundle_config import build_network

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

TASK = {"task": "segmentation"}


@pytest.fixture
def stacks(tmp_path: Path) -> Path:
    """Eight grey images with bright squares, as npz files."""
    folder = tmp_path / "data"
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(8):
        label = np.zeros((32, 32), np.uint8)
        label[4 : 20 + index % 3, 6:22] = 1
        image = (label + random.normal(0, 0.1, label.shape)).astype(np.float32)
        np.savez(folder / f"c{index}.npz", image=image[..., np.newaxis], label=label)
    return folder


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


def onnx_file(path: Path, shape: tuple[int | str, ...] = (1, 1, "h", "w"), kind: int = 1, domain: str = "") -> Path:
    """The bright network as an ONNX file with this input shape."""
    weight = onnx.numpy_helper.from_array(np.array([[[[-1.0]]], [[[1.0]]]], np.float32), "weight")
    bias = onnx.numpy_helper.from_array(np.array([0.5, -0.5], np.float32), "bias")
    node = onnx.helper.make_node("Conv", ["image", "weight", "bias"], ["logits"], domain=domain)
    graph = onnx.helper.make_graph(
        [node],
        "bright",
        [onnx.helper.make_tensor_value_info("image", kind, shape)],
        [onnx.helper.make_tensor_value_info("logits", kind, (shape[0], 2, *shape[2:]))],
        [weight, bias],
    )
    opsets = [onnx.helper.make_opsetid("", 20), *([onnx.helper.make_opsetid(domain, 1)] if domain else [])]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def test_an_onnx_file_is_a_workload(tmp_path: Path, stacks: Path) -> None:
    """Shapes come from the file and the data, labels from the masks; nothing can be built, and its origin reloads."""
    path = onnx_file(tmp_path / "net.onnx")
    workload = load_workload(f"model:{path}", stacks, tmp_path, TASK)
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
        ({"shape": (4, 1, 32, 32)}, "the batch must be free or 1, it is 4"),
        ({"kind": 10}, "the input image must be float32"),
        ({"domain": "my.ops"}, "must use standard operators only, it needs those of my.ops|must be a valid ONNX model"),
        ({"task": "classification"}, r"the output of a classification must be \(n, classes\)"),
        ({"labels": "a,b,c"}, "answers 2 classes, the data have 3: a, b, c"),
    ],
)
def test_onnx_files_that_do_not_fit(tmp_path: Path, stacks: Path, change: dict[str, Any], match: str) -> None:
    """What does not fit is said with the file, what it has and what is needed."""
    made = {key: change[key] for key in ("shape", "kind", "domain") if key in change}
    path = onnx_file(tmp_path / "net.onnx", **made)
    options = {**TASK, **{key: change[key] for key in ("task", "tile", "labels") if key in change}}
    with pytest.raises(WorkloadError, match=match):
        load_workload(f"model:{path}", stacks, tmp_path, options)


def test_a_file_that_is_no_onnx_model(tmp_path: Path, stacks: Path) -> None:
    """Bytes that are no model are refused by name; so is a model without a task."""
    (tmp_path / "net.onnx").write_bytes(b"not a model")
    with pytest.raises(WorkloadError, match=r"net\.onnx must be a valid ONNX model"):
        load_workload(f"model:{tmp_path / 'net.onnx'}", stacks, tmp_path, TASK)
    with pytest.raises(WorkloadError, match="needs --task"):
        load_workload(f"model:{onnx_file(tmp_path / 'good.onnx')}", stacks, tmp_path)


def test_weights_of_an_onnx_file_must_lie_beside_it(tmp_path: Path, stacks: Path) -> None:
    """A path in a model that leads elsewhere is not followed."""
    path = onnx_file(tmp_path / "net.onnx")
    model = onnx.load(str(path))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret.bin")
    path.write_bytes(model.SerializeToString())
    with pytest.raises(WorkloadError, match=r"its weights must lie in a file beside it, it names '\.\./secret\.bin'"):
        load_workload(f"model:{path}", stacks, tmp_path, TASK)


def test_a_checkpoint_with_a_builder(tmp_path: Path, stacks: Path) -> None:
    """A function that builds the network and a state dict are a workload; what it builds is checked."""
    (tmp_path / "nets.py").write_text(
        "import torch\n\ndef build():\n    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1))\n\n"
        "def wrong():\n    return 3\n"
    )
    workload = load_workload(f"model:{tmp_path / 'nets.py'}:build", stacks, tmp_path, {**TASK, "name": "mine"})
    assert workload.name == "mine" and workload_problems(workload) == []
    assert workload.build is not None
    torch.save(workload.build().state_dict(), tmp_path / "net.pt")
    load_weights(workload.build(), tmp_path / "net.pt")
    wrong = load_workload(f"model:{tmp_path / 'nets.py'}:wrong", stacks, tmp_path, TASK)
    assert wrong.build is not None
    with pytest.raises(WorkloadError, match=r"must return a torch\.nn\.Module, it returned int"):
        wrong.build()


CONFIG: dict[str, Any] = {
    "channels": 1,
    "network_def": {
        "_target_": "UNet",
        "spatial_dims": 2,
        "in_channels": "@channels",
        "out_channels": 2,
        "channels": [4, 8],
        "strides": [2],
        "norm": "batch",
    },
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {
                "_target_": "ScaleIntensityRanged",
                "keys": "image",
                "a_min": -1.0,
                "a_max": 3.0,
                "b_min": 0.0,
                "b_max": 1.0,
                "clip": True,
            },
            {"_target_": "EnsureTyped", "keys": "image"},
        ],
    },
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16], "overlap": 0.5},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {"_target_": "KeepLargestConnectedComponentd", "keys": "pred"},
        ],
    },
}
METADATA = {"network_data_format": {"outputs": {"pred": {"channel_def": {"0": "background", "1": "square"}}}}}


def bundle(folder: Path, **changes: Any) -> Path:
    """A small MONAI bundle with random weights."""
    config = {**CONFIG, **changes}
    for name, value in (("inference", config), ("metadata", METADATA)):
        (folder / "configs").mkdir(parents=True, exist_ok=True)
        (folder / "configs" / f"{name}.json").write_text(json.dumps(value))
    (folder / "models").mkdir()
    if not changes:
        torch.save(build_network(str(folder), False).state_dict(), folder / "models" / "model.pt")
    else:
        torch.save({}, folder / "models" / "model.pt")
    return folder


def test_a_bundle_is_a_workload(tmp_path: Path, stacks: Path) -> None:
    """Network, weights, transforms and inferer of a bundle come out as MONAI itself runs them."""
    inferers = pytest.importorskip("monai.inferers")
    folder = bundle(tmp_path / "bundle")
    workload = load_workload(f"model:{folder}", stacks, tmp_path, TASK)
    pipeline = workload.pipeline
    assert workload.labels == ("background", "square")
    assert (pipeline.tile, pipeline.overlap, pipeline.clip, pipeline.largest_component) == (
        (16, 16),
        0.5,
        (-1.0, 3.0),
        True,
    )
    assert workload_problems(workload) == [] and workload.weights is not None and workload.build is not None
    net = workload.build().eval()
    load_weights(net, workload.weights)
    image = workload.splits.val[0].read().image

    def run(batch: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            answer: np.ndarray = net(torch.from_numpy(batch)).numpy()
        return answer

    ours = predict(pipeline.__class__(**{**pipeline.__dict__, "largest_component": False}), run, image)
    scaled = torch.from_numpy(np.clip((image[..., 0] + 1) / 4, 0, 1)).float()[None, None]
    with torch.no_grad():
        theirs = inferers.SlidingWindowInferer([16, 16], overlap=0.5)(scaled, net).argmax(1)[0].numpy()
    assert np.mean(ours == theirs) > 0.995


@pytest.mark.parametrize(
    ("section", "match"),
    [
        (
            {"preprocessing": {"transforms": [{"_target_": "CropForegroundd", "keys": "image"}]}},
            "CropForegroundd has no equal",
        ),
        ({"preprocessing": {"transforms": [{"_target_": "NormalizeIntensityd", "nonzero": True}]}}, "nonzero=True"),
        (
            {"inferer": {"_target_": "SlidingWindowInferer", "roi_size": "$[16] * 2"}},
            r"inferer\.roi_size is the Python",
        ),
        ({"inferer": {"_target_": "SliceInferer", "roi_size": [16, 16]}}, "SliceInferer has no equal"),
        ({"network_def": {"_target_": "UNet", "in_channels": "@nothing"}}, "refers to '@nothing'"),
    ],
)
def test_what_cannot_be_mapped_is_named(tmp_path: Path, stacks: Path, section: dict[str, Any], match: str) -> None:
    """A transform, inferer or reference that has no meaning here is refused by its name, never left out."""
    folder = bundle(tmp_path / "bundle", **section)
    with pytest.raises(WorkloadError, match=match):
        load_workload(f"model:{folder}", stacks, tmp_path, TASK)


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "builtins.exec",
        "subprocess.Popen",
        "torch.hub.load",
        "torch.load",
        "torch.nn.modules.module.torch.load",
        "monai.networks.nets.torch.hub.load",
        "monai.bundle.ConfigParser",
        "torch.nn.parallel.distributed.torch.load",
        "torch.nn.init.trunc_normal_",
        "monai.networks.nets.resnet.torch.hub.download_url_to_file",
        "os;system",
        "torch.nn..Linear",
        {"_target_": "os.system"},
    ],
)
def test_a_bundle_runs_no_code(tmp_path: Path, stacks: Path, target: Any) -> None:
    """Whatever callable a configuration names, also inside an argument of a network, nothing of it is called."""
    canary = tmp_path / "canary"
    evil = {"_target_": target, "command": f"touch {canary}"}
    for number, network in enumerate((evil, {**CONFIG["network_def"], "act": evil})):
        folder = bundle(tmp_path / f"bundle{number}", network_def=network)
        with pytest.raises(WorkloadError, match=r"only classes of"):
            _built(folder, stacks, tmp_path)
        with pytest.raises(WorkloadError):
            build_network(str(folder), False)
    assert not canary.exists()


def _built(folder: Path, data: Path, home: Path) -> Any:
    workload = load_workload(f"model:{folder}", data, home, TASK)
    assert workload.build is not None
    return workload.build()


def test_expressions_run_only_with_trust(tmp_path: Path, stacks: Path) -> None:
    """A `$` expression is refused; with trust MONAI's own parser runs it."""
    canary = tmp_path / "canary"
    network = {**CONFIG["network_def"], "in_channels": f"$__import__('pathlib').Path({str(canary)!r}).touch() or 1"}
    folder = bundle(tmp_path / "bundle", network_def=network)
    with pytest.raises(WorkloadError, match=r"network_def\.in_channels is the Python expression"):
        load_workload(f"model:{folder}", stacks, tmp_path, TASK)
    assert not canary.exists()
    trusted = load_workload(f"model:{folder}", stacks, tmp_path, {**TASK, "trust": True})
    assert trusted.build is not None and isinstance(trusted.build(), torch.nn.Module)
    assert canary.exists()


def test_weights_are_never_unpickled(tmp_path: Path, stacks: Path) -> None:
    """A pickle in the place of the weights is refused and not run."""
    import pickle

    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self) -> Any:
            return (canary.touch, ())

    folder = bundle(tmp_path / "bundle")
    (folder / "models" / "model.pt").write_bytes(pickle.dumps(Evil()))
    workload = load_workload(f"model:{folder}", stacks, tmp_path, TASK)
    assert workload.build is not None and workload.weights is not None
    with pytest.raises(WeightsError):
        load_weights(workload.build(), workload.weights)
    assert not canary.exists()

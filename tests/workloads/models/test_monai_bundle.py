"""What a MONAI bundle means here: its transforms against MONAI's own, what is refused, and what is never run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autoopt.errors import WorkloadError
from autoopt.inference.pipeline import Pipeline, predict
from autoopt.nets.weights import load_weights
from autoopt.testing import workload_problems
from autoopt.workloads.contract import Workload
from autoopt.workloads.loading import load_workload
from autoopt.workloads.models.bundle_config import build_network, read_config
from autoopt.workloads.models.bundle_settings import read_settings

torch = pytest.importorskip("torch")
transforms = pytest.importorskip("monai.transforms")

NETWORK = {
    "_target_": "monai.networks.nets.BasicUNet",
    "spatial_dims": 2,
    "in_channels": 1,
    "out_channels": 2,
    "features": [4, 4, 4, 4, 4, 4],
}


def write(folder: Path, name: str = "inference.json", **content: Any) -> Path:
    """A bundle with this configuration."""
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    (folder / "configs" / name).write_text(json.dumps({"network_def": NETWORK, **content}))
    return folder


def steps(*items: dict[str, Any]) -> dict[str, Any]:
    """A Compose of transforms of the image."""
    return {"_target_": "Compose", "transforms": [{"keys": "image", **item} for item in items]}


def fields_of(folder: Path, channels: Any = 1, dimensions: Any = 2, drop: Any = (), **content: Any) -> Any:
    """The fields of a pipeline of two labels that the configuration means."""
    config = read_config(write(folder, **content))
    return read_settings(config, channels=channels, classes=2, dimensions=dimensions, dropped=drop).fields


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """Eight grey images of 32 x 32 with a bright square."""
    folder = tmp_path / "data"
    folder.mkdir()
    random = np.random.default_rng(0)
    for index in range(8):
        label = np.zeros((32, 32), np.uint8)
        label[4 : 20 + index % 3, 6:22] = 1
        image = (label + random.normal(0, 0.1, label.shape)).astype(np.float32)
        np.savez(folder / f"c{index}.npz", image=image[..., np.newaxis], label=label)
    return folder


def load(folder: Path, data: Path, **options: Any) -> Workload:
    return load_workload(f"model:{folder}", data, data, {"task": "segmentation", **options})


RANGE = {"_target_": "ScaleIntensityRanged", "a_min": -50.0, "a_max": 150.0, "b_min": -1.0, "b_max": 1.0}


@pytest.mark.parametrize(
    ("items", "channels"),
    [
        ([RANGE], 1),
        ([{**RANGE, "clip": True}], 1),
        ([{**RANGE, "clip": True}, {"_target_": "NormalizeIntensityd", "subtrahend": 0.3, "divisor": 0.2}], 1),
        (
            [
                {
                    "_target_": "NormalizeIntensityd",
                    "subtrahend": [10.0, 20.0],
                    "divisor": [30.0, 40.0],
                    "channel_wise": True,
                }
            ],
            2,
        ),
        ([{"_target_": "NormalizeIntensityd", "channel_wise": True}], 2),
        ([{**RANGE, "clip": True}, {"_target_": "monai.transforms.NormalizeIntensityD"}], 1),
        ([{"_target_": "ScaleIntensityd", "minv": -1.0, "maxv": 1.0}], 1),
        (
            [
                {
                    "_target_": "ScaleIntensityRangePercentilesd",
                    "lower": 5,
                    "upper": 90,
                    "b_min": 0.0,
                    "b_max": 2.0,
                    "clip": True,
                    "channel_wise": True,
                },
                {**RANGE, "a_min": 0.0, "a_max": 1.0},
            ],
            2,
        ),
    ],
)
def test_intensities_come_out_as_monai_makes_them(tmp_path: Path, items: list[dict[str, Any]], channels: int) -> None:
    """What a chain of intensity transforms makes of an image, our pipeline makes of it too."""
    fields = fields_of(tmp_path, channels, preprocessing=steps(*items))
    pipeline = Pipeline("segmentation", 2, channels, (24, 20), **{"overlap": 0.25, **fields})
    image = np.random.default_rng(1).normal(40, 60, (24, 20, channels)).astype(np.float32)
    ours, _ = pipeline.prepare(image)
    chain = []
    for item in items:
        kind = getattr(transforms, item["_target_"].rpartition(".")[2])
        chain.append(kind(keys="image", **{name: value for name, value in item.items() if name != "_target_"}))
    theirs = transforms.Compose(chain)({"image": torch.from_numpy(np.moveaxis(image, -1, 0))})["image"]
    np.testing.assert_allclose(ours[0], np.asarray(theirs), rtol=1e-4, atol=1e-4)


def test_geometry_and_answers_are_read(tmp_path: Path) -> None:
    """Orientation, spacing, window, activation, threshold and clean-up become fields, through references and macros."""
    fields = fields_of(
        tmp_path,
        dimensions=3,
        size=[32, 32, 16],
        pixdim=[1.5, 1.5, 2],
        defaults={
            "inferer": {"_target_": "SlidingWindowInferer", "roi_size": "@size", "overlap": 0.625, "sw_batch_size": 4}
        },
        inferer="%defaults#inferer",
        preprocessing=steps(
            {"_target_": "LoadImaged", "keys": ["scan", "label"]},
            {"_target_": "Orientationd", "keys": "scan", "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": ["scan", "label"], "pixdim": "@pixdim", "mode": ["bilinear", "nearest"]},
            {"_target_": "CropForegroundd", "keys": "label"},
            {"_target_": "RandFlipd", "keys": "scan", "_disabled_": True},
        ),
        postprocessing={
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": ["pred", "label"], "sigmoid": [True, False]},
                {
                    "_target_": "Invertd",
                    "keys": "pred",
                    "transform": "@preprocessing",
                    "device": "$torch.device('cuda')",
                },
                {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.4},
                {"_target_": "FillHolesd", "keys": "pred"},
                {"_target_": "KeepLargestConnectedComponentd", "keys": "pred", "applied_labels": [1]},
                {"_target_": "SaveImaged", "keys": "pred", "output_dir": "$@bundle_root + '/eval'"},
            ],
        },
    )
    wanted = {
        "orientation": "RAS",
        "spacing_mm": (1.5, 1.5, 2.0),
        "overlap": 0.625,
        "activation": "sigmoid",
        "threshold": 0.4,
        "fill_holes": True,
        "largest_component": True,
    }
    assert {name: fields[name] for name in wanted} == wanted
    assert "clip" not in fields and fields["mean"] == (0.0,) and fields["std"] == (1.0,)


def test_everything_without_an_equal_is_named_at_once_and_may_be_dropped(tmp_path: Path) -> None:
    """All that cannot be followed is one error with places; --option ignore lets it pass by those names."""
    content = {
        "preprocessing": steps(
            {"_target_": "CropForegroundd"},
            {"_target_": "NormalizeIntensityd", "nonzero": True},
            {"_target_": "Resized", "spatial_size": [16, 16]},
            {"_target_": "scripts.Own"},
        ),
        "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [16, 16], "mode": "gaussian"},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "Lambdad", "keys": "pred", "func": "$f"}],
        },
    }
    with pytest.raises(WorkloadError) as caught:
        fields_of(tmp_path, **content)
    text = str(caught.value)
    for name in (
        "preprocessing.transforms.0: CropForegroundd",
        "nonzero=True",
        "Resize.order",
        "scripts.Own",
        "mode=gaussian",
        "postprocessing.transforms.0: Lambdad",
    ):
        assert name in text
    assert len(caught.value.problems) == 6
    assert all("inference.json" in problem for problem in caught.value.problems)
    drop = (
        "CropForegroundd",
        "NormalizeIntensityd.nonzero",
        "Resize.order",
        "Own",
        "SlidingWindowInferer.mode",
        "Lambda",
    )
    assert fields_of(tmp_path, drop=drop, **content)["intensity"] == "zscore"


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"network_def": "@a", "a": "@b", "b": "@a"}, "lead in a circle"),
        ({"network_def": "%other.json::network_def"}, "a key of this file"),
        ({"network_def": {**NETWORK, "act": "@network_def"}}, "too deep or too large"),
        ({"network_def": {**NETWORK, "_requires_": "$print(1)"}}, "is the Python expression"),
        ({"network_def": {**NETWORK, "_mode_": "debug"}}, "_mode_ cannot be followed"),
        ({"network_def": {**NETWORK, "_target_": "$__import__('os').system"}}, "is the Python expression"),
        ({"network_def": [1, 2]}, "must have a _target_"),
    ],
)
def test_networks_that_are_not_followed(tmp_path: Path, squares: Path, content: dict[str, Any], match: str) -> None:
    """Circles, other files, special keys and code in a network's definition are refused where the model is loaded."""
    folder = write(tmp_path / "bundle", **content)
    with pytest.raises(WorkloadError, match=match):
        load(folder, squares)
    with pytest.raises(WorkloadError):
        build_network(str(folder), trust=False)


def test_yaml_makes_no_objects(tmp_path: Path, squares: Path) -> None:
    """A YAML tag that would call something is refused and nothing is called; so is what is no mapping."""
    canary = tmp_path / "canary"
    (tmp_path / "bundle" / "configs").mkdir(parents=True)
    path = tmp_path / "bundle" / "configs" / "inference.yaml"
    path.write_text(f"network_def: !!python/object/apply:os.system ['touch {canary}']\n")
    with pytest.raises(WorkloadError, match=r"inference\.yaml must be a configuration in JSON or YAML"):
        load(tmp_path / "bundle", squares)
    path.write_text("- 1\n")
    with pytest.raises(WorkloadError, match="must be a configuration with keys"):
        load(tmp_path / "bundle", squares)
    path.unlink()
    with pytest.raises(WorkloadError, match=r"must have configs/inference\.json"):
        load(tmp_path / "bundle", squares)
    assert not canary.exists()


def test_code_of_a_bundle_is_not_imported_without_trust(tmp_path: Path, squares: Path) -> None:
    """A script beside the configuration is neither imported nor found; with trust it makes the network."""
    folder, canary = tmp_path / "bundle", tmp_path / "canary"
    write(folder, network_def={"_target_": "own_bundle_nets.Net"})
    (folder / "own_bundle_nets.py").write_text(
        f"import pathlib, torch\npathlib.Path({str(canary)!r}).touch()\nNet = lambda: torch.nn.Conv2d(1, 2, 1)\n"
    )
    with pytest.raises(WorkloadError, match=r"only classes of .* --trust-bundle"):
        load(folder, squares)
    assert not canary.exists() and str(folder) not in sys.path
    try:
        trusted = load(folder, squares, trust=True)
        assert not canary.exists(), "reading shapes needs no code"
        assert workload_problems(trusted) == [] and canary.exists()
    finally:
        sys.path[:] = [entry for entry in sys.path if entry != str(folder)]


def test_weights_are_not_downloaded(tmp_path: Path) -> None:
    """A network that would fetch weights by default is built without them."""
    network = {"_target_": "EfficientNetBN", "model_name": "efficientnet-b0", "spatial_dims": 2, "in_channels": 3}
    folder = write(tmp_path, network_def={**network, "pretrained": True})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.hub.load_state_dict_from_url", None)
        patch.setattr("monai.networks.nets.efficientnet._load_state_dict", None)
        assert isinstance(build_network(str(folder), trust=False), torch.nn.Module)


def test_a_single_sigmoid_gets_a_background(tmp_path: Path, squares: Path) -> None:
    """A network with one output, a sigmoid and a threshold marks what exceeds it, under the names of its weights."""
    folder = write(
        tmp_path / "bundle",
        network_def={"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 1, "kernel_size": 1},
        postprocessing={
            "_target_": "Compose",
            "transforms": [
                {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
                {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.7},
            ],
        },
    )
    (folder / "models").mkdir()
    torch.save({"weight": torch.full((1, 1, 1, 1), 3.0), "bias": torch.zeros(1)}, folder / "models" / "model.pt")
    workload = load(folder, squares)
    assert workload_problems(workload) == [] and workload.build is not None and workload.weights is not None
    net = workload.build().eval()
    load_weights(net, workload.weights)
    image = workload.splits.val[0].read().image
    answer = predict(workload.pipeline, lambda batch: net(torch.from_numpy(batch)).detach().numpy(), image)
    np.testing.assert_array_equal(answer, 1 / (1 + np.exp(-3 * image[..., 0])) > 0.7)


def test_options_count_more_than_the_bundle(tmp_path: Path, squares: Path) -> None:
    """Tile, overlap and intensities on the command line replace those of the bundle; a changed bundle builds anew."""
    folder = write(
        tmp_path / "bundle",
        preprocessing=steps({**RANGE, "clip": True}),
        inferer={"_target_": "SlidingWindowInferer", "roi_size": [16, 16], "overlap": 0.5},
    )
    plain, other = load(folder, squares), load(folder, squares, tile="32x32", overlap=0.1, scale=2.0)
    assert plain.pipeline.tile == (16, 16) and plain.pipeline.clip == (-50.0, 150.0) and plain.weights is None
    assert (other.pipeline.tile, other.pipeline.overlap, other.pipeline.scale) == ((32, 32), 0.1, 2.0)
    assert other.pipeline.clip is None and other.pipeline.mean == (0.0,)
    before: Any = plain.build
    write(folder, network_def={**NETWORK, "act": "prelu"})
    after: Any = load(folder, squares).build
    assert before.keywords != after.keywords


def test_images_without_an_affine_are_refused_where_one_is_needed(tmp_path: Path) -> None:
    """A bundle that resamples needs images that say how large a voxel is."""
    data = tmp_path / "volumes"
    data.mkdir()
    for index in range(6):
        label = np.zeros((8, 8, 8), np.uint8)
        label[2:5, 2:5, 2:5] = 1
        np.savez(data / f"c{index}.npz", image=label[..., np.newaxis].astype(np.float32), label=label)
    folder = write(
        tmp_path / "bundle",
        network_def={**NETWORK, "spatial_dims": 3},
        preprocessing=steps({"_target_": "Spacingd", "pixdim": [1, 1, 1]}),
    )
    with pytest.raises(WorkloadError, match="needs images with an affine, such as NIfTI"):
        load(folder, data)

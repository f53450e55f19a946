"""Networks of libraries by their names: built for the data, without code of the user, and never with a download."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from autoopt.errors import NeedsPackage, WorkloadError
from autoopt.nets import outputs
from autoopt.workloads.contract import Workload
from autoopt.workloads.identity import code_identity
from autoopt.workloads.loading import load_workload
from autoopt.workloads.models.libraries import FETCHING, LIBRARIES, Asked, builder
from autoopt.workloads.models.named_network import matches
from tests.workloads.models.bundles import TASK, squares
from tests.workloads.models.test_checkpoint import data_folder

ASKED = Asked("segmentation", 3, 2, (32, 32))
FAKE = """
import torch
__all__ = ["Unet", "__version__"]
__version__ = "9.9"
SEEN = []

class Net(torch.nn.Module):
    def __init__(self, channels, classes):
        super().__init__()
        self.conv = torch.nn.Conv2d(channels, classes, 1)

    def forward(self, image):
        return self.conv(image)

class Unet(Net):
    def __init__(self, encoder_name="resnet34", encoder_weights="imagenet", in_channels=3, classes=1, **more):
        SEEN.append(dict(encoder_name=encoder_name, encoder_weights=encoder_weights, **more))
        super().__init__(in_channels, classes)

class encoders:
    @staticmethod
    def get_encoder_names():
        return ["resnet34", "mit_b0"]

class segmentation:
    pass

def list_models(module=None):
    return ["convnext_tiny", "vit_tiny_patch16_224"] if module is None else ["fcn_resnet50"]

def create_model(name, pretrained=True, num_classes=1000, in_chans=3, **more):
    if "img_size" in more and not name.startswith("vit"):
        raise TypeError("img_size")
    SEEN.append(dict(name=name, pretrained=pretrained, **more))
    return Net(in_chans, num_classes)

def fcn_resnet50(*, weights="DEFAULT", weights_backbone="DEFAULT", num_classes=21, aux_loss=None):
    SEEN.append(dict(weights=weights, weights_backbone=weights_backbone))
    return Net(3, num_classes)

def get_model_builder(name):
    return {"fcn_resnet50": fcn_resnet50}[name]
"""
"""A stand-in for smp, timm and torchvision: what it was asked for is in SEEN."""


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with stand-ins of the libraries, installed as pip would have them."""
    for library in ("smp", "timm", "torchvision"):
        module, distribution = LIBRARIES[library].module, LIBRARIES[library].distribution
        (tmp_path / module).mkdir()
        (tmp_path / module / "__init__.py").write_text(FAKE)
        (tmp_path / module / "models.py").write_text(
            f"from {module} import *\nfrom {module} import segmentation, list_models, get_model_builder\n"
        )
        info = tmp_path / f"{distribution.replace('-', '_')}-9.9.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 9.9\n")
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def loaded(model: str, folder: Path, **options: Any) -> Workload:
    return load_workload(f"model:{model}", squares(folder / "data"), folder, {"task": "segmentation", **options})


def test_names_of_libraries_are_models() -> None:
    """A known library and a plain name; files, modules of the user and addresses on a hub are not."""
    assert matches("monai:SegResNet") and matches("smp:Unet/resnet34") and matches("timm:resnet18.a1_in1k")
    for other in ("nets.py:build", "my.nets:build", "timm:hf-hub:someone/net", "timm:../x", "monai", "other:Net"):
        assert not matches(other), other


@pytest.mark.parametrize(
    ("model", "asked", "seen"),
    [
        ("smp:Unet/mit_b0", {}, {"encoder_name": "mit_b0", "encoder_weights": None}),
        ("smp:Unet/tu-resnet18", {}, {"encoder_name": "tu-resnet18", "encoder_weights": None}),
        (
            "smp:Unet",
            {"decoder_channels": [8]},
            {"encoder_name": "resnet34", "encoder_weights": None, "decoder_channels": [8]},
        ),
        ("timm:convnext_tiny", {}, {"name": "convnext_tiny", "pretrained": False}),
        (
            "timm:convnext_tiny.in12k",
            {"drop_rate": 0.1},
            {"name": "convnext_tiny", "pretrained": False, "drop_rate": 0.1},
        ),
        ("timm:vit_tiny_patch16_224", {}, {"name": "vit_tiny_patch16_224", "pretrained": False, "img_size": (32, 32)}),
        ("torchvision:fcn_resnet50", {}, {"weights": None, "weights_backbone": None}),
    ],
)
def test_a_library_builds_without_fetching(
    fakes: Path, model: str, asked: dict[str, Any], seen: dict[str, Any]
) -> None:
    """For the channels, classes and sizes of the data; the weights that it would download are refused to it."""
    library, _, name = model.partition(":")
    build = builder(library, name, Asked("segmentation", 3, 2, (32, 32), asked))
    assert build()(torch.zeros(1, 3, 8, 8)).shape == (1, 2, 8, 8)
    assert [seen] == sys.modules[LIBRARIES[library].module].SEEN  # type: ignore[attr-defined]


def test_what_is_stored_remembers_the_library(fakes: Path) -> None:
    """Name, version and arguments are the identity of the network: another one of them is another network."""
    names = {
        str(code_identity(builder("timm", name, Asked("classification", 3, 2, (32, 32), arguments))))
        for name in ("convnext_tiny", "resnet18")
        for arguments in ({}, {"drop_rate": 0.5})
    }
    assert len(names) == 4 and all("9.9" in name for name in names)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("smp:Unett", "smp has no network called 'Unett'; like it are Unet"),
        ("smp:Unet/resnet35", "smp has no network called 'resnet35'; like it are resnet34"),
        ("timm:convnext_tinny", "like it are convnext_tiny"),
        ("torchvision:fcn", "torchvision has no network called 'fcn'"),
        ("monai:SegResnet", "monai has no network called 'SegResnet'; like it are SegResNet"),
    ],
)
def test_a_wrong_name_is_told_with_those_alike(fakes: Path, model: str, message: str) -> None:
    """A name that a library does not have is refused with the names that are spelled nearly so."""
    library, _, name = model.partition(":")
    with pytest.raises(WorkloadError, match=message):
        builder(library, name, ASKED)()


@pytest.mark.parametrize("word", FETCHING)
def test_arguments_that_fetch_are_refused(word: str) -> None:
    """Nothing is downloaded on the way through an argument either."""
    with pytest.raises(WorkloadError, match=f"must not fetch weights, they have {word}"):
        builder("monai", "SegResNet", Asked("segmentation", 3, 2, (32, 32), {word: "imagenet"}))


def test_a_library_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with what to type."""
    monkeypatch.setitem(sys.modules, "segmentation_models_pytorch", None)
    with pytest.raises(NeedsPackage, match="pip install segmentation-models-pytorch"):
        builder("smp", "Unet", ASKED)


def test_a_network_of_monai_fits_the_data(tmp_path: Path) -> None:
    """Its answer has the classes and the sizes of the data; more of its arguments are given as JSON."""
    pytest.importorskip("monai")
    workload = loaded("monai:SegResNet", tmp_path, arguments='{"init_filters": 8}', tile="32x32")
    assert workload.name == "SegResNet" and "divided by 1, with mean 0 and std 1" in workload.remarks[-1]
    net = outputs.build(workload)
    assert net(torch.zeros(workload.pipeline.input_shape)).shape == (1, workload.pipeline.classes, 32, 32)
    assert next(iter(net.parameters())).shape[0] == 8


def test_arguments_that_do_not_fit_are_told(tmp_path: Path) -> None:
    """What the library says of missing arguments, and text that is no JSON object, are one sentence."""
    pytest.importorskip("monai")
    workload = loaded("monai:UNet", tmp_path, tile="32x32")
    assert workload.build is not None
    with pytest.raises(WorkloadError, match=r"refuses its arguments \(spatial_dims=2.*channels.*--option arguments="):
        workload.build()
    for text in ("{", "[1]"):
        with pytest.raises(WorkloadError, match="--option arguments must be a JSON object"):
            load_workload("model:monai:UNet", tmp_path / "data", tmp_path, {**TASK, "arguments": text})


def test_a_classifier_of_monai_fits_the_data(tmp_path: Path) -> None:
    """The classes of the folders are those of its last layer."""
    pytest.importorskip("monai")
    options = {"task": "classification", "mean": "0.5"}
    workload = load_workload("model:monai:DenseNet121", data_folder(tmp_path / "data"), tmp_path, options)
    assert outputs.build(workload).eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 2)

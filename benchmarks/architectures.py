"""How far pruning gets in networks that people have: what is found, what is left at half of it, and how exactly.

    python -m benchmarks.architectures [NAME ...] [--json FILE]

Networks of MONAI, timm, segmentation-models-pytorch, torchvision and nnU-Net (dynamic-network-architectures), as far as
these are installed, with random weights; NAME is a part of a name. Half of every group is removed. "left" is the share
of the weights that stays, "error" the largest difference between the answers of the smaller network and of the whole
one whose removed units are zero (and passed over by its norms), over the largest answer. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import importlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PLANE, BOX = (1, 3, 64, 64), (1, 1, 32, 32, 32)
SMALL = 10_000_000
"""Networks of fewer weights are compared in float64, others in float32, for the sake of memory."""


@dataclass(frozen=True)
class Architecture:
    """A network by name, the module that it needs, how it is built from that, and the shape of an input."""

    name: str
    module: str
    build: Callable[[Any], torch.nn.Module]
    shape: tuple[int, ...] = PLANE


def _smp(kind: str, encoder: str) -> Architecture:
    def build(smp: Any) -> torch.nn.Module:
        made: torch.nn.Module = getattr(smp, kind)(encoder, encoder_weights=None, classes=3)
        return made

    return Architecture(f"smp {kind} {encoder}", "segmentation_models_pytorch", build)


def _timm(name: str, **arguments: Any) -> Architecture:
    def build(timm: Any) -> torch.nn.Module:
        made: torch.nn.Module = timm.create_model(name, pretrained=False, num_classes=3, **arguments)
        return made

    return Architecture(f"timm {name}", "timm", build)


def _torchvision(name: str, **arguments: Any) -> Architecture:
    def build(models: Any) -> torch.nn.Module:
        fresh = {"weights_backbone": None} if "segmentation" in models.__name__ else {}
        made: torch.nn.Module = getattr(models, name)(weights=None, num_classes=3, **fresh, **arguments)
        return _Out(made) if fresh else made

    inside = "segmentation" if name.startswith(("deeplab", "lraspp", "fcn")) else ""
    return Architecture(f"torchvision {name}", ".".join(["torchvision.models", inside]).rstrip("."), build)


def _monai(name: str, label: str, shape: tuple[int, ...], *arguments: Any, **named: Any) -> Architecture:
    def build(nets: Any) -> torch.nn.Module:
        made: torch.nn.Module = getattr(nets, name)(*arguments, **named)
        return made

    return Architecture(f"MONAI {label}", "monai.networks.nets", build, shape)


def _nnunet(kind: str, dimensions: int) -> Architecture:
    def build(unets: Any) -> torch.nn.Module:
        import torch
        from torch import nn

        flat = dimensions == 2
        depth = "n_blocks_per_stage" if kind.startswith("Res") else "n_conv_per_stage"
        made: torch.nn.Module = getattr(unets, kind)(
            3 if flat else 1,
            n_stages=4,
            features_per_stage=(16, 32, 64, 96),
            conv_op=nn.Conv2d if flat else nn.Conv3d,
            kernel_sizes=3,
            strides=(1, 2, 2, 2),
            num_classes=3,
            n_conv_per_stage_decoder=2 if not kind.startswith("Res") else 1,
            conv_bias=True,
            norm_op=nn.InstanceNorm2d if flat else nn.InstanceNorm3d,
            norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=torch.nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
            **{depth: 2},
        )
        return made

    label = "PlainConvUNet" if kind.startswith("Plain") else "ResEncUNet"
    module = "dynamic_network_architectures.architectures.unet"
    return Architecture(f"nnU-Net {label} {dimensions}d", module, build, PLANE if dimensions == 2 else BOX)


def _architectures() -> list[Architecture]:
    dynamic = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [8, 16, 32]}
    return [
        *(_smp(kind, "resnet34") for kind in ("DeepLabV3Plus", "FPN", "MAnet", "Unet", "UnetPlusPlus")),
        *(_smp(*names) for names in (("Segformer", "mit_b0"), ("Unet", "efficientnet-b0"), ("Unet", "mit_b0"))),
        *map(_timm, ("convnext_tiny", "densenet121", "efficientnet_b0", "mobilenetv3_large_100", "regnety_008")),
        *map(_timm, ("resnet18", "resnet50")),
        _timm("swin_tiny_patch4_window7_224", img_size=64),
        _timm("vit_tiny_patch16_224", img_size=64),
        *map(_torchvision, ("deeplabv3_resnet50", "lraspp_mobilenet_v3_large", "mobilenet_v2")),
        _torchvision("vit_b_16", image_size=64),
        *(_nnunet(kind, n) for kind in ("PlainConvUNet", "ResidualEncoderUNet") for n in (2, 3)),
        _monai("BasicUNetPlusPlus", "BasicUNet++", PLANE, 2, 3, 2, features=(8, 8, 16, 32, 64, 8)),
        _monai("DynUNet", "DynUNet 3d", BOX, 3, 1, 2, **dynamic),
        _monai("DynUNet", "DynUNet deep supervision", BOX, 3, 1, 2, **dynamic, deep_supervision=True),
        _monai("HighResNet", "HighResNet", BOX, 3, 1, 2),
        _monai("MedNeXtS", "MedNeXt S", BOX, spatial_dims=3, in_channels=1, out_channels=2),
        _monai("SEResNet50", "SEResNet50", PLANE, spatial_dims=2, in_channels=3, num_classes=3),
        _monai("SegResNetDS", "SegResNetDS 3d", BOX, 3, init_filters=8, in_channels=1, out_channels=2),
        _monai("VNet", "VNet", BOX, 3, 1, 2),
    ]


def _Out(model: torch.nn.Module) -> torch.nn.Module:  # noqa: N802
    """The answer called `out` of a network of torchvision that gives several."""
    import torch

    class Out(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.model(batch)["out"]
            return answer

    return Out()


def main() -> None:
    """Measure and print every architecture that can be built here."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("names", nargs="*", metavar="NAME")
    arguments.add_argument("--json", type=Path)
    given = arguments.parse_args()
    rows = []
    print("| network | weights (M) | groups | left | error | s |\n| --- | --- | --- | --- | --- | --- |")
    for item in _architectures():
        if given.names and not any(name.lower() in item.name.lower() for name in given.names):
            continue
        if find_spec(item.module.partition(".")[0]) is None:
            print(f"| {item.name} | {item.module.partition('.')[0]} is not installed | | | | |", flush=True)
            continue
        row = {"network": item.name, **measured(item)}
        rows.append(row)
        print("|", " | ".join(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()), "|", flush=True)
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=1))


def measured(item: Architecture) -> dict[str, Any]:
    """Millions of weights, groups, share of the weights left at half of every group, and the error of the cut."""
    import torch

    from autoopt.nets import surgery
    from tests.nets.zoo import built, error_of_cut, share_left, weights_in

    begun = time.perf_counter()
    module = importlib.import_module(item.module)
    model = built(lambda: item.build(module))
    batch = torch.randn(item.shape, generator=torch.Generator().manual_seed(1))
    count = weights_in(model)
    if count < SMALL:
        model, batch = model.double(), batch.double()
    if isinstance(model(batch), list | tuple):
        model = _First(model)
    groups = surgery.removable(model, batch)
    left, error = share_left(model, groups), error_of_cut(model, batch, groups)
    seconds = round(time.perf_counter() - begun)
    return {"weights_m": count / 1e6, "groups": len(groups), "left": left, "error": error, "s": seconds}


def _First(model: torch.nn.Module) -> torch.nn.Module:  # noqa: N802
    """The first answer of a network that gives several."""
    import torch

    class First(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.model(batch)[0]
            return answer

    return First()


if __name__ == "__main__":
    main()

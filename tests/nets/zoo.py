"""Small versions of the networks that must be prunable, with random weights and statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from autoopt.workloads.networks import attention, classifiers

Net = tuple[Callable[[], nn.Module], tuple[int, ...]]


def nets() -> dict[str, Net]:
    """By name: how to build the network, and the shape of an input."""
    from monai.networks import nets as monai

    plane, box = (1, 3, 32, 32), (1, 1, 32, 32, 32)
    return {
        "unet": (lambda: monai.UNet(2, 3, 2, (4, 8, 12), (2, 2), num_res_units=2), plane),
        "unet 3d batch": (lambda: monai.UNet(3, 1, 2, (4, 8), (2,), num_res_units=1, norm="batch"), box),
        "basic unet": (lambda: monai.BasicUNet(2, 3, 2, (4, 4, 6, 8, 8, 4)), plane),
        "basic unet group": (
            lambda: monai.BasicUNet(2, 3, 2, (8, 8, 8, 8, 8, 8), norm=("group", {"num_groups": 4})),
            plane,
        ),
        "attention unet": (lambda: monai.AttentionUnet(2, 3, 2, (4, 6, 8), (2, 2)), plane),
        "dynunet": (
            lambda: monai.DynUNet(3, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2], filters=[4, 6, 8], res_block=True),
            box,
        ),
        "segresnet": (lambda: monai.SegResNet(2, 8, 3, 2, blocks_down=(1, 1), blocks_up=(1,)), plane),
        "resnet unet": (lambda: monai.FlexibleUNet(3, 2, "resnet50", decoder_channels=(8, 8, 8, 8, 8)), plane),
        "flexible unet": (lambda: monai.FlexibleUNet(3, 2, "efficientnet-b0", decoder_channels=(8, 8, 8, 8, 8)), plane),
        "unet 1d": (lambda: monai.UNet(1, 3, 2, (4, 8), (2,), num_res_units=1, norm="batch"), (1, 3, 64)),
        "densenet": (
            lambda: monai.DenseNet(2, 3, 2, init_features=8, growth_rate=4, block_config=(2, 2)),
            plane,
        ),
        "efficientnet": (lambda: classifiers.efficientnet_b0(2), plane),
        "resnet": (
            lambda: monai.ResNet(
                "bottleneck", [1, 1, 1, 1], [4, 4, 8, 8], spatial_dims=2, n_input_channels=3, num_classes=2
            ),
            plane,
        ),
        "vgg": (lambda: classifiers.vgg11(2), plane),
        "vit": (lambda: attention.vit(3, 2, (32, 32)), plane),
        "linear unet": (lambda: attention.linear_unet(3, 2, width=8), plane),
        "unetr": (
            lambda: monai.UNETR(1, 2, (32, 32, 32), feature_size=4, hidden_size=24, mlp_dim=32, num_heads=4),
            box,
        ),
        "swin unetr": (
            lambda: monai.SwinUNETR(1, 2, feature_size=12, spatial_dims=2, num_heads=(2, 2, 4, 4), depths=(2, 1, 1, 1)),
            (1, 1, 64, 64),
        ),
        "grouped": (_grouped, plane),
        "shuffled": (_shuffled, plane),
    }


def built(build: Callable[[], nn.Module]) -> nn.Module:
    """The network in evaluation mode, with weights of which none is zero or one by chance."""
    torch.manual_seed(3)
    model = build()
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point() and value.ndim == 1:
                value.uniform_(0.5, 1.5) if "var" in name or "weight" in name else value.uniform_(-0.3, 0.3)
    return model.eval().requires_grad_(False)


def _grouped() -> nn.Module:
    """Convolutions in groups and depthwise, a transposed one, a norm of each kind, a channel scale."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.Conv2d(8, 16, 3, padding=1, groups=4),
        nn.GroupNorm(16, 16),
        nn.PReLU(16),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.InstanceNorm2d(16),
        nn.ConvTranspose2d(16, 6, 2, stride=2),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 2, 1),
    )


class _Halves(nn.Module):
    """Two halves of the channels that gate each other, and sub-pixels that become pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 12, 3, padding=1)
        self.wide = nn.Conv2d(6, 16, 3, padding=1)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, batch: Any) -> Any:
        one, other = self.first(batch).chunk(2, dim=1)
        mixed = one * torch.tanh(other)
        return self.head(nn.functional.pixel_shuffle(self.wide(mixed), 2))


def _shuffled() -> nn.Module:
    return _Halves()

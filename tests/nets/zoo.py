"""Small versions of the networks that must be prunable, with random weights and statistics."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from autoopt.nets import surgery
from autoopt.nets.tracing import Group
from autoopt.workloads.networks import attention, classifiers, nnunet
from autoopt.workloads.networks.nnunet_shape import RESIDUAL, Layer, UNetShape
from tests.nets import stand_ins

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
        "nnunet folds": (lambda: nnunet.build_folds(_nnunet_shape(), 3, 2, folds=2), plane),
        "grouped": (_grouped, plane),
        "mobile": (_mobile, (1, 3, 16, 16)),
        "transposed": (_transposed, (1, 3, 16, 16)),
        "tokens": (stand_ins.Tokens, (1, 3, 16, 16)),
        "torchvision tokens": (stand_ins.VisionTransformer, (1, 3, 16, 16)),
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
            elif value.is_floating_point() and not value.any():
                value.normal_(0, 0.1)
    return model.eval().requires_grad_(False)


def _nnunet_shape() -> UNetShape:
    """A residual U-Net of nnU-Net, every weight of which has two names or four."""
    plain = Layer("InstanceNorm2d", {"affine": True}), None, Layer("LeakyReLU")
    kernels, strides = ((3, 3),) * 2, ((1, 1), (2, 2))
    return UNetShape(RESIDUAL, "Conv2d", (4, 6), kernels, strides, (1, 1), (1,), True, *plain)


def zeroed(model: nn.Module, gone: Mapping[int, Sequence[int]], groups: Sequence[Group]) -> nn.Module:
    """A copy of the network in which all weights of these units are zero: what removing them should come to."""
    zeros = copy.deepcopy(model)
    weights = zeros.state_dict()
    for place, units in gone.items():
        for axis, (name, dimension) in enumerate(groups[place].axes):
            if name in weights and not name.endswith(("running_var", "position_index")):
                for unit in units:
                    indices = torch.tensor(groups[place].members[unit][axis])
                    weights[name].index_fill_(dimension, indices, 0)
    return zeros


class NormsOverTheRest(TorchFunctionMode):
    """Layer and group norms of `model` pass over the units that are gone, which are zero but would count in a mean."""

    def __init__(self, model: nn.Module, gone: Mapping[int, Sequence[int]], groups: Sequence[Group]) -> None:
        super().__init__()
        self.left: dict[int, torch.Tensor] = {}
        weights = dict(model.named_parameters())
        for place, units in gone.items():
            for axis, (name, _) in enumerate(groups[place].axes):
                if name in weights and weights[name].ndim == 1:
                    lost = {index for unit in units for index in groups[place].members[unit][axis]}
                    before = self.left.get(id(weights[name]), torch.arange(len(weights[name])))
                    self.left[id(weights[name])] = torch.tensor([i for i in before.tolist() if i not in lost])

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (nn.functional.layer_norm, nn.functional.group_norm):
            x, parts, weight, bias, *rest = (*args, *kwargs.values())
            left = self.left.get(id(weight))
            if left is not None:
                if func is nn.functional.layer_norm:
                    axis, parts = x.dim() - 1, [len(left)]
                else:
                    axis, parts = 1, len(left) if parts == x.shape[1] else parts
                made = func(x.index_select(axis, left), parts, weight[left], bias[left], *rest)
                return torch.zeros_like(x).index_copy(axis, left, made)
        return func(*args, **kwargs)


def half_of(groups: Sequence[Group]) -> dict[int, list[int]]:
    """Half of the units of every group, by the place of the group, at random but the same each time."""
    random = np.random.default_rng(0)
    return {place: random.permutation(len(group))[: len(group) // 2].tolist() for place, group in enumerate(groups)}


def error_of_cut(model: nn.Module, batch: torch.Tensor, groups: Sequence[Group]) -> float:
    """How far the network without half of its units is from the one where these are zero, over the largest answer.

    Norms pass over what is gone; groups that the code normalises without a layer stay whole.
    """
    gone = {place: units for place, units in half_of(groups).items() if not normalised_without_a_layer(groups[place])}
    zeros = zeroed(model, gone, groups)
    fewer = copy.deepcopy(zeros)
    surgery.cut(fewer, gone, list(groups))
    with NormsOverTheRest(zeros, gone, groups):
        expected = zeros(batch)
    got = fewer(batch)
    assert got.shape == expected.shape
    assert not gone or not torch.allclose(expected, model(batch)), "the answer must depend on what goes"
    return float((got - expected).abs().max() / expected.abs().max())


def share_left(model: nn.Module, groups: Sequence[Group]) -> float:
    """The share of the weights that is left without half of the units of every group."""
    fewer = copy.deepcopy(model)
    surgery.cut(fewer, half_of(groups), list(groups))
    return weights_in(fewer) / weights_in(model)


def weights_in(model: nn.Module) -> int:
    """The number of weights of a network."""
    return sum(item.numel() for item in model.parameters())


def normalised_without_a_layer(group: Group) -> bool:
    """Whether the code takes the mean over these channels itself, as MONAI's Swin does with its last tokens."""
    return any(name.rpartition(".")[0].endswith("downsample.reduction") for name, _ in group.axes)


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


class _Mobile(nn.Module):
    """A block of MobileNetV3: channels are spread, filtered one by one and weighed by hard sigmoids of their means."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Hardswish(inplace=True))
        self.spread = nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.Hardswish())
        self.each = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1, groups=16), nn.GroupNorm(32, 32), nn.Mish(True))
        self.weigh = nn.Sequential(nn.Conv2d(32, 8, 1), nn.ReLU6(), nn.Conv2d(8, 32, 1), nn.Hardsigmoid())
        self.back = nn.Sequential(nn.Conv2d(32, 8, 1), nn.GroupNorm(4, 8))
        self.gate = nn.Conv2d(8, 12, 1)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, batch: Any) -> Any:
        x = self.stem(batch)
        many = self.each(self.spread(x))
        x = x + self.back(many * self.weigh(many.mean((2, 3), keepdim=True)).to(many.dtype))
        return self.head(nn.functional.glu(self.gate(x), dim=1))


def _mobile() -> nn.Module:
    return _Mobile()


def _transposed() -> nn.Module:
    """Transposed convolutions in groups, and one of which each channel has filters of its own, as in MedNeXt."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, padding=1),
        nn.ConvTranspose2d(8, 12, 2, stride=2, groups=4),
        nn.ELU(),
        nn.Conv2d(12, 8, 3, 2, padding=1),
        nn.ConvTranspose2d(8, 8, 3, 2, padding=1, output_padding=1, groups=8),
        nn.GroupNorm(8, 8),
        nn.SiLU(),
        nn.ConvTranspose2d(8, 16, 1, groups=8),
        nn.Conv2d(16, 2, 1),
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

"""The two U-Nets of nnU-Net v2, with the very names of their weights.

Written anew after dynamic_network_architectures 0.4.4 (MIC-DKFZ, Apache License 2.0): `PlainConvUNet` and
`ResidualEncoderUNet` of architectures/unet.py. A weight is known there by several names (a convolution also as the
first of `all_modules`, the encoder also as `decoder.encoder`), and checkpoints have all of them, so it is here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from autoopt.workloads.identity import plain_name
from autoopt.workloads.networks.nnunet_shape import RESIDUAL, Layer, UNetShape

if TYPE_CHECKING:
    import torch


@plain_name("nnunet-1")
def build_nnunet(shape: UNetShape, channels: int, classes: int) -> torch.nn.Module:
    """The network with fresh weights: float32 (n, channels, *sizes) to logits (n, classes, *sizes).

    The sizes must be multiples of `shape.divisor`. It answers at full size alone, in training too; the answers at lower
    resolutions of a network that was trained with deep supervision keep their weights.
    """
    from torch import nn

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = _encoder(shape, channels)
            self.decoder = _decoder(shape, self.encoder, classes)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.decoder(self.encoder(image))
            return result

    UNet.__name__ = UNet.__qualname__ = shape.kind
    return UNet()


@plain_name("nnunet-folds-1")
def build_folds(shape: UNetShape, channels: int, classes: int, folds: int) -> torch.nn.Module:
    """The networks of several folds, `members.0`, `members.1`, ...: the answer is the mean of their logits."""
    from torch import nn

    class Ensemble(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.members = nn.ModuleList(build_nnunet(shape, channels, classes) for _ in range(folds))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            total: torch.Tensor = self.members[0](image)
            for member in list(self.members)[1:]:
                total = total + member(image)
            return total / len(self.members) if len(self.members) > 1 else total

    return Ensemble()


def _encoder(shape: UNetShape, channels: int) -> Any:
    """All stages from fine to coarse; the answer has that of each of them."""
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            before, residual = channels, shape.kind == RESIDUAL
            if residual:
                before = shape.stem or shape.features[0]
                self.stem = _stack(shape, 1, channels, before, shape.kernels[0])
            stages = []
            levels = zip(shape.blocks, shape.features, shape.kernels, shape.strides, strict=True)
            for blocks, after, kernel, stride in levels:
                if residual:
                    stages.append(_residual(shape, blocks, before, after, kernel, stride))
                else:
                    stages.append(nn.Sequential(_stack(shape, blocks, before, after, kernel, stride)))
                before = after
            self.stages = nn.Sequential(*stages)

        def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
            value = self.stem(image) if shape.kind == RESIDUAL else image
            found = []
            for stage in self.stages:
                value = stage(value)
                found.append(value)
            return found

    return Encoder()


def _decoder(shape: UNetShape, encoder: Any, classes: int) -> torch.nn.Module:
    """Up from the coarsest stage, beside the encoder's answer of each size, to the logits."""
    import torch
    from torch import nn

    convolution = getattr(nn, shape.convolution)
    transposed: Any = {"Conv2d": nn.ConvTranspose2d, "Conv3d": nn.ConvTranspose3d}[shape.convolution]

    class Decoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder
            stages, enlarged, heads = [], [], []
            for level, blocks in enumerate(shape.decoder, start=1):
                below, beside = shape.features[-level], shape.features[-level - 1]
                stride = shape.strides[-level]
                enlarged.append(transposed(below, beside, stride, stride, bias=shape.bias))
                stages.append(_stack(shape, blocks, 2 * beside, beside, shape.kernels[-level - 1]))
                heads.append(convolution(beside, classes, 1))
            self.stages = nn.ModuleList(stages)
            self.transpconvs = nn.ModuleList(enlarged)
            self.seg_layers = nn.ModuleList(heads)

        def forward(self, skips: list[torch.Tensor]) -> torch.Tensor:
            value = skips[-1]
            for stage, enlarge, skip in zip(self.stages, self.transpconvs, reversed(skips[:-1]), strict=True):
                value = stage(torch.cat((enlarge(value), skip), 1))
            result: torch.Tensor = self.seg_layers[-1](value)
            return result

    return Decoder()


def _stack(
    shape: UNetShape, blocks: int, before: int, after: int, kernel: Sequence[int], stride: Sequence[int] = ()
) -> torch.nn.Module:
    """Convolutions one after the other, the first one with the stride."""
    from torch import nn

    class Stack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            first = _unit(shape, before, after, kernel, stride)
            self.convs = nn.Sequential(first, *(_unit(shape, after, after, kernel) for _ in range(blocks - 1)))

        def forward(self, value: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.convs(value)
            return result

    return Stack()


def _residual(
    shape: UNetShape, blocks: int, before: int, after: int, kernel: Sequence[int], stride: Sequence[int]
) -> torch.nn.Module:
    """Residual blocks one after the other, the first one with the stride."""
    from torch import nn

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            first = _block(shape, before, after, kernel, stride)
            ones = (1,) * shape.dimensions
            self.blocks = nn.Sequential(first, *(_block(shape, after, after, kernel, ones) for _ in range(blocks - 1)))

        def forward(self, value: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.blocks(value)
            return result

    return Residual()


def _block(shape: UNetShape, before: int, after: int, kernel: Sequence[int], stride: Sequence[int]) -> torch.nn.Module:
    """Two convolutions beside a shortcut, which is averaged to the size and projected to the channels (ResNet-D)."""
    from torch import nn

    mean: Any = {"Conv2d": nn.AvgPool2d, "Conv3d": nn.AvgPool3d}[shape.convolution]
    ones = (1,) * shape.dimensions

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = _unit(shape, before, after, kernel, stride)
            self.conv2 = _unit(shape, after, after, kernel, alone=True)
            self.nonlin2 = nn.Identity() if shape.activation is None else _layer(shape.activation)
            smaller = [mean(tuple(stride), tuple(stride))] if set(stride) != {1} else []
            wider = [_unit(shape, before, after, ones, alone=True, bias=False)] if before != after else []
            self.skip = nn.Sequential(*smaller, *wider)

        def forward(self, value: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.nonlin2(self.conv2(self.conv1(value)) + self.skip(value))
            return result

    return Block()


def _unit(
    shape: UNetShape,
    before: int,
    after: int,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    *,
    alone: bool = False,
    bias: bool | None = None,
) -> torch.nn.Module:
    """A convolution, dropout, norm and activation; `alone`, without dropout and activation."""
    from torch import nn

    class Unit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            padding = tuple((size - 1) // 2 for size in kernel)
            self.conv = getattr(nn, shape.convolution)(
                before,
                after,
                tuple(kernel),
                tuple(stride) or 1,
                padding=padding,
                bias=shape.bias if bias is None else bias,
            )
            parts = [self.conv]
            if shape.dropout is not None and not alone:
                self.dropout = _layer(shape.dropout)
                parts.append(self.dropout)
            if shape.norm is not None:
                self.norm = _layer(shape.norm, after)
                parts.append(self.norm)
            if shape.activation is not None and not alone:
                self.nonlin = _layer(shape.activation)
                parts.append(self.nonlin)
            self.all_modules = nn.Sequential(*parts)

        def forward(self, value: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.all_modules(value)
            return result

    return Unit()


def _layer(layer: Layer, *places: Any) -> torch.nn.Module:
    from torch import nn

    made: torch.nn.Module = getattr(nn, layer.name)(*places, **layer.keywords)
    return made

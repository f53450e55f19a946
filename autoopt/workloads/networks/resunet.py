"""The residual U-Net of the published brain extraction study (Thakur et al. 2022 and 2025), for volumes or images."""

from __future__ import annotations

import itertools
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

DOWNSAMPLINGS = 4
DIVISOR = 2**DOWNSAMPLINGS
"""The sizes of an input must be multiples of this, so that every up-sampling meets its encoder's size."""
SLOPE = 0.01
"""Of the LeakyReLU below zero, as in the study."""


INTERPOLATION = {2: "bilinear", 3: "trilinear"}
"""By the number of spatial axes."""


def build_resunet(channels: int, classes: int, width: int, spatial_dims: int = 3) -> torch.nn.Module:
    """The ResUNet with fresh weights: float32 (n, channels, *spatial) to logits (n, classes, *spatial).

    `width` is the number of channels at full resolution; each of the four down-samplings doubles them: 16 makes 8.29
    million parameters and 175 billion multiplications for a volume of 128x128x128. `spatial_dims` is 2 or 3, all
    spatial sizes must be multiples of `DIVISOR`. A block is instance norm, LeakyReLU, 3x3 convolution, twice, and adds
    its input. Down: a convolution with stride 2. Up: linear interpolation and a 1x1 convolution, then the encoder's
    output beside it. This is the structure of GaNDLF's `resunet` with the 1x1 up-sampling that the study's parameter
    count implies. The 1x1 convolution comes before the interpolation here: both are linear, so the values are the
    same, for an eighth of the multiplications. Dropout is left out.
    """
    import torch
    from torch import nn

    convolution = {2: nn.Conv2d, 3: nn.Conv3d}[spatial_dims]
    norm = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}[spatial_dims]

    class ResUNet(nn.Module):
        """Encoders from fine to coarse, the coarsest at the bottom; up-samplings and decoders from coarse to fine."""

        def __init__(self) -> None:
            super().__init__()
            widths = [width * 2**level for level in range(DOWNSAMPLINGS + 1)]
            down = list(itertools.pairwise(widths))
            activated = partial(_activated, convolution, norm)
            block = partial(_block, convolution, norm)
            self.first = block(convolution(channels, width, 3, padding=1), width)
            self.down = nn.ModuleList(block(activated(fine, coarse, stride=2), coarse) for fine, coarse in down)
            self.narrow = nn.ModuleList(convolution(coarse, fine, 1) for fine, coarse in reversed(down))
            self.merge = nn.ModuleList(block(activated(2 * fine, fine), fine) for fine, _ in reversed(down))
            self.enlarge = nn.Upsample(scale_factor=2, mode=INTERPOLATION[spatial_dims], align_corners=False)
            self.last = nn.Sequential(norm(width, affine=True), nn.LeakyReLU(SLOPE), convolution(width, classes, 1))

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            value = self.first(image)
            skips = []
            for encode in self.down:
                skips.append(value)
                value = encode(value)
            for narrow, decode, skip in zip(self.narrow, self.merge, reversed(skips), strict=True):
                value = decode(torch.cat([self.enlarge(narrow(value)), skip], dim=1))
            result: torch.Tensor = self.last(value)
            return result

    return ResUNet()


def _activated(convolution: Any, norm: Any, before: int, after: int, stride: int = 1) -> torch.nn.Module:
    """Instance norm, LeakyReLU and a 3x3 convolution: (n, before, *spatial) to (n, after, *spatial)."""
    from torch import nn

    layers = norm(before, affine=True), nn.LeakyReLU(SLOPE), convolution(before, after, 3, stride=stride, padding=1)
    return nn.Sequential(*layers)


def _block(convolution: Any, norm: Any, change: torch.nn.Module, size: int) -> torch.nn.Module:
    """`change`, which gives `size` channels, then two activated convolutions that are added to its result."""
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.change = change
            self.residual = nn.Sequential(*(_activated(convolution, norm, size, size) for _ in range(2)))

        def forward(self, value: torch.Tensor) -> torch.Tensor:
            value = self.change(value)
            result: torch.Tensor = value + self.residual(value)
            return result

    return Block()

"""The classic 2D U-Net (Ronneberger et al., MICCAI 2015), with padded convolutions and batch norm."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

POOLINGS = 4
DIVISOR = 2**POOLINGS
"""The sizes of an input must be multiples of this, so that every up-sampling meets its encoder's size."""


def build_unet(channels: int, classes: int, base: int) -> torch.nn.Module:
    """The U-Net with fresh weights: float32 (n, channels, height, width) to logits (n, classes, height, width).

    `base` is the width of the first block; the widths are base, 2, 4, 8 and 16 times base (31 million parameters with
    64). Each block is two 3x3 convolutions, each with batch norm and ReLU; 2x2 max-pooling on the way down, transposed
    2x2 convolutions and concatenation on the way up. Height and width must be multiples of `DIVISOR`. As in
    Ronneberger et al. 2015, but padded, so that the output is as large as the input, and with the batch norm
    that most implementations have.
    """
    import torch
    from torch import nn

    def block(before: int, after: int) -> nn.Sequential:
        return nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.Conv2d(after, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        )

    class UNet(nn.Module):
        """Encoders from fine to coarse, the coarsest at the bottom; up-samplings and decoders from coarse to fine."""

        def __init__(self) -> None:
            super().__init__()
            widths = [base * 2**level for level in range(POOLINGS + 1)]
            down = list(itertools.pairwise(widths))
            self.first = block(channels, base)
            self.down = nn.ModuleList(block(fine, coarse) for fine, coarse in down)
            self.up = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in reversed(down))
            self.merge = nn.ModuleList(block(coarse, fine) for fine, coarse in reversed(down))
            self.last = nn.Conv2d(base, classes, 1)
            self.pool = nn.MaxPool2d(2)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            value = self.first(image)
            skips = []
            for encode in self.down:
                skips.append(value)
                value = encode(self.pool(value))
            for enlarge, decode, skip in zip(self.up, self.merge, reversed(skips), strict=True):
                value = decode(torch.cat([skip, enlarge(value)], dim=1))
            result: torch.Tensor = self.last(value)
            return result

    return UNet()

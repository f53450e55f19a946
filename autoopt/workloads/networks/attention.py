"""Networks with attention: small transformers of MONAI, and a U-Net whose attention costs linearly in the pixels."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def vit(channels: int, classes: int, tile: tuple[int, ...], blocks: int = 6) -> torch.nn.Module:
    """A small 2D vision transformer (Dosovitskiy et al. 2021): (n, channels, *tile) to logits (n, classes).

    Four convolutions make 8 x 8 tokens of a tile of 128 pixels (Xiao et al. 2021, Early Convolutions Help
    Transformers See Better): without them it learned nothing from a few hundred pictures. 6 blocks of width 192 with 3
    heads as in DeiT-Ti, 2.9 million parameters; sizes of a tile are multiples of 16. The classes come from the mean of
    the tokens.
    """
    from monai.networks.nets import ViT
    from torch import nn

    def convolution(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, 2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = (channels, 24, 48, 96, 192)
            self.stem = nn.Sequential(*(convolution(a, b) for a, b in itertools.pairwise(widths)))
            self.body = ViT(
                in_channels=192,
                img_size=tuple(size // 16 for size in tile),
                patch_size=1,
                hidden_size=192,
                mlp_dim=768,
                num_layers=blocks,
                num_heads=3,
                spatial_dims=2,
                classification=False,
            )
            self.head = nn.Linear(192, classes)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            tokens, _ = self.body(self.stem(batch))
            logits: torch.Tensor = self.head(tokens.mean(dim=1))
            return logits

    return Classifier()


def swin(channels: int, classes: int) -> torch.nn.Module:
    """A small 2D Swin transformer (Liu et al. 2021) of MONAI: (n, channels, *sizes) to logits (n, classes).

    Tokens of 4 x 4 pixels, windows of 4 x 4 tokens, four stages of two blocks; widths 24 to 384. The classes come from
    the mean of the last tokens. Sizes are multiples of 64.
    """
    from monai.networks.nets.swin_unetr import SwinTransformer
    from torch import nn

    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = SwinTransformer(
                in_chans=channels,
                embed_dim=24,
                window_size=(4, 4),
                patch_size=(4, 4),
                depths=(2, 2, 2, 2),
                num_heads=(2, 4, 8, 16),
                spatial_dims=2,
            )
            self.head = nn.Linear(16 * 24, classes)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(self.body(batch)[-1].mean(dim=(2, 3)))
            return logits

    return Classifier()


def swin_unetr(channels: int, classes: int, dimensions: int, width: int = 12) -> torch.nn.Module:
    """Swin UNETR (Hatamizadeh et al. 2022) of MONAI: (n, channels, *sizes) to logits (n, classes, *sizes).

    Sizes are multiples of 32; `width` 12 makes about 4 million parameters in 3D.
    """
    from monai.networks.nets import SwinUNETR

    net: torch.nn.Module = SwinUNETR(
        in_channels=channels,
        out_channels=classes,
        feature_size=width,
        spatial_dims=dimensions,
        num_heads=(1, 2, 4, 8) if width % 24 else (3, 6, 12, 24),
    )
    return net


def linear_unet(channels: int, classes: int, width: int = 24) -> torch.nn.Module:
    """A 2D U-Net with attention over the whole image in its three lower levels, at a cost linear in the pixels.

    (n, channels, height, width) to logits (n, classes, height, width), sizes multiples of 16. The attention is that of
    Katharopoulos et al. 2020 (Transformers are RNNs) with the feature map elu(x) + 1: keys and values are summed up
    first, so no pixel is compared with every other. There is no softmax in it.
    """
    import torch
    from torch import nn

    def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )

    class LinearUNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            widths = [width, width, 2 * width, 4 * width, 4 * width]
            self.stem = convolution(channels, width)
            self.down = nn.ModuleList(convolution(a, b, 2) for a, b in itertools.pairwise(widths))
            self.attend = nn.ModuleList(_linear_attention(item) for item in widths[2:])
            self.up = nn.ModuleList(
                convolution(a + b, b) for a, b in zip(reversed(widths[1:]), reversed(widths[:-1]), strict=False)
            )
            self.head = nn.Conv2d(width, classes, 1)

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            kept = [self.stem(batch)]
            for level, down in enumerate(self.down):
                x = down(kept[-1])
                kept.append(self.attend[level - 1](x) if level else x)
            x = kept.pop()
            for up in self.up:
                skipped = kept.pop()
                x = nn.functional.interpolate(x, size=skipped.shape[-2:], mode="nearest")  # a size may be odd
                x = up(torch.cat([x, skipped], dim=1))
            logits: torch.Tensor = self.head(x)
            return logits

    return LinearUNet()


def _linear_attention(channels: int, heads: int = 4) -> torch.nn.Module:
    """A block of linear attention and a perceptron, each added to its input: (n, channels, *sizes)."""
    import torch
    from torch import nn

    class LinearAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = heads
            self.norm = nn.GroupNorm(1, channels)
            self.project = nn.Conv2d(channels, 3 * channels, 1)
            self.position = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
            self.out = nn.Conv2d(channels, channels, 1)
            self.mlp = nn.Sequential(
                nn.GroupNorm(1, channels),
                nn.Conv2d(channels, 2 * channels, 1),
                nn.GELU(),
                nn.Conv2d(2 * channels, channels, 1),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            n, _, *sizes = x.shape  # x may have fewer channels than the heads together, where it was pruned
            made = self.project(self.norm(x))
            q, k, v = made.reshape(n, 3, self.heads, made.shape[1] // (3 * self.heads), -1).unbind(1)
            q, k = nn.functional.elu(q) + 1, nn.functional.elu(k) + 1
            # Divided by the number of pixels, the sums stay near one, as 8-bit integers need.
            context = torch.matmul(k, v.transpose(-1, -2)) / k.shape[-1]
            total = k.mean(dim=-1, keepdim=True)
            attended = torch.matmul(context.transpose(-1, -2), q) / (q * total).sum(dim=-2, keepdim=True)
            x = x + self.out(attended.reshape(n, -1, *sizes) + self.position(v.reshape(n, -1, *sizes)))
            mixed: torch.Tensor = x + self.mlp(x)
            return mixed

    return LinearAttention()

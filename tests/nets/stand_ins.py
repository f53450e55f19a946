"""Small attention layers that stand for those of libraries which need not be installed: same names, same sizes.

Each takes the width of its tokens for the width of all its heads, as the layer it stands for does.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

WIDTH, HEADS, PLACES = 24, 4, 16


def stands_for(name: str) -> Any:
    """Let a class say that it is the one called `name`, with its module."""

    def named(kind: Any) -> Any:
        kind.__module__, _, kind.__qualname__ = name.rpartition(".")
        return kind

    return named


class Fused(nn.Module):
    """Queries, keys and values from one linear layer."""

    def __init__(self, width: int = WIDTH, heads: int = HEADS) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.scale = heads, width // heads, (width // heads) ** -0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.attn_drop, self.proj_drop = nn.Dropout(0.1), nn.Dropout(0.1)


@stands_for("timm.layers.attention.Attention")
class TimmAttention(Fused):
    """timm's attention of vision transformers, 1.0.22."""

    def __init__(self, width: int = WIDTH, heads: int = HEADS) -> None:
        super().__init__(width, heads)
        self.q_norm, self.k_norm, self.norm = nn.LayerNorm(self.head_dim), nn.Identity(), nn.LayerNorm(width)

    def forward(self, x: Any, attn_mask: Any = None) -> Any:
        count, n, width = x.shape
        q, k, v = self.qkv(x).reshape(count, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v, attn_mask=attn_mask)
        return self.proj_drop(self.proj(self.norm(mixed.transpose(1, 2).reshape(count, n, width))))


@stands_for("timm.models.swin_transformer.WindowAttention")
class TimmWindows(Fused):
    """timm's window attention of Swin, on one window of `PLACES` tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.relative_position_bias_table = nn.Parameter(torch.zeros(PLACES, self.num_heads))
        self.register_buffer("places", torch.arange(PLACES**2) % PLACES, persistent=False)

    def forward(self, x: Any) -> Any:
        count, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(count, n, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.relative_position_bias_table[self.places].view(n, n, -1).permute(2, 0, 1).unsqueeze(0)
        weights = ((q * self.scale) @ k.transpose(-2, -1) + bias).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(count, n, -1))


@stands_for("segmentation_models_pytorch.encoders.mix_transformer.Attention")
class SmpReduced(nn.Module):
    """The attention of Mix Transformers of smp, with keys and values from fewer places."""

    def __init__(self, heads: int, ratio: int) -> None:
        super().__init__()
        self.num_heads, self.sr_ratio, self.scale = heads, ratio, (WIDTH // heads) ** -0.5
        self.q, self.kv, self.proj = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.sr = nn.Conv2d(WIDTH, WIDTH, ratio, ratio) if ratio > 1 else nn.Identity()
        self.norm = nn.LayerNorm(WIDTH) if ratio > 1 else nn.Identity()
        self.attn_drop, self.proj_drop = nn.Dropout(0.1), nn.Dropout(0.1)

    def forward(self, x: Any, height: int, width: int) -> Any:
        count, n, channels = x.shape
        shape = (self.num_heads, channels // self.num_heads)
        q = self.q(x).reshape(count, n, *shape).permute(0, 2, 1, 3)
        if self.sr_ratio > 1:
            x = self.sr(x.permute(0, 2, 1).reshape(count, channels, height, width))
            x = self.norm(x.reshape(count, channels, -1).permute(0, 2, 1))
        k, v = self.kv(x).reshape(count, -1, 2, *shape).permute(2, 0, 3, 1, 4)
        weights = ((q @ k.transpose(-2, -1)) * self.scale).softmax(dim=-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(count, n, channels))


@stands_for("timm.models.pvt_v2.Attention")
class TimmReduced(SmpReduced):
    """The attention of PVT v2 of timm, whose keys and values come from 2 x 2 places."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.sr, self.pool, self.act = nn.Conv2d(WIDTH, WIDTH, 1), nn.AdaptiveAvgPool2d(2), nn.GELU()

    def forward(self, x: Any, feat_size: Any) -> Any:
        count, n, channels = x.shape
        shape = (self.num_heads, WIDTH // self.num_heads)
        q = self.q(x).reshape(count, n, self.num_heads, -1).permute(0, 2, 1, 3)
        x = self.sr(self.pool(x.permute(0, 2, 1).reshape(count, channels, *feat_size)))
        x = self.act(self.norm(x.reshape(count, channels, -1).permute(0, 2, 1)))
        k, v = self.kv(x).reshape(count, -1, 2, *shape).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(count, n, channels))


class Tokens(nn.Module):
    """Attention of timm, of smp with one head and with several, and of torch: images to two classes."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 4, 4)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(5))
        self.tokens, self.windows = TimmAttention(), TimmWindows()
        self.lone, self.reduced, self.pooled = SmpReduced(1, 2), SmpReduced(HEADS, 1), TimmReduced()
        self.encoder = nn.TransformerEncoderLayer(WIDTH, HEADS, 32, activation="gelu", batch_first=True)
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, batch: Any) -> Any:
        x = self.stem(batch)
        height, width = x.shape[2:]
        x = x.flatten(2).transpose(1, 2)
        x = x + self.tokens(self.norms[0](x))
        x = x + self.windows(self.norms[1](x))
        x = x + self.lone(self.norms[2](x), height, width)
        x = x + self.reduced(self.norms[3](x), height, width)
        x = x + self.pooled(self.norms[4](x), (height, width))
        return self.head(self.encoder(x).mean(dim=1))


@stands_for("torchvision.models.vision_transformer.VisionTransformer")
class VisionTransformer(nn.Module):
    """A vision transformer as torchvision writes it: it keeps its width as a number."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden_dim = WIDTH
        self.conv_proj = nn.Conv2d(3, WIDTH, 4, 4)
        self.class_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.pos_embedding = nn.Parameter(torch.zeros(1, PLACES + 1, WIDTH))
        self.ln_1, self.ln_2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.self_attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 48), nn.GELU(), nn.Linear(48, WIDTH))
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, batch: Any) -> Any:
        count = len(batch)
        x = self.conv_proj(batch).reshape(count, self.hidden_dim, PLACES).permute(0, 2, 1)
        x = torch.cat([self.class_token.expand(count, -1, -1), x], dim=1) + self.pos_embedding
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return self.head((x + self.mlp(self.ln_2(x)))[:, 0])

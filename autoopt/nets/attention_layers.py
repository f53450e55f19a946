"""How attention layers of other libraries answer with heads that are not as wide as the tokens divided by their number.

The code of these layers takes the width of the tokens for that of all heads together. Each function here does what its
layer does, and takes the sizes from the tensors instead; `nets/heads.py` lists which layer it stands for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def monai_windows(layer: Any, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """MONAI's window attention of Swin: tokens (windows, n, width) to the same."""
    windows, n, _ = x.shape
    q, k, v = layer.qkv(x).reshape(windows, n, 3, layer.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    places = layer.relative_position_index[:n, :n].reshape(-1)
    bias = layer.relative_position_bias_table[places].reshape(n, n, -1).permute(2, 0, 1)
    attention = (q * layer.scale) @ k.transpose(-2, -1) + bias.unsqueeze(0)
    if mask is not None:
        masked = attention.reshape(windows // len(mask), len(mask), layer.num_heads, n, n)
        attention = (masked + mask.unsqueeze(1).unsqueeze(0)).reshape(-1, layer.num_heads, n, n)
    mixed = layer.attn_drop(layer.softmax(attention)).to(v.dtype) @ v
    answer: torch.Tensor = layer.proj_drop(layer.proj(mixed.transpose(1, 2).reshape(windows, n, -1)))
    return answer


def timm_tokens(
    layer: Any, x: torch.Tensor, attn_mask: torch.Tensor | None = None, is_causal: bool = False
) -> torch.Tensor:
    """timm's attention of vision transformers: tokens (n, tokens, width) to the same."""
    from torch.nn.functional import scaled_dot_product_attention

    count, n, _ = x.shape
    gate = getattr(layer, "gate", None)
    q, k, v = layer.qkv(x).reshape(count, n, 3, layer.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    mixed = scaled_dot_product_attention(
        layer.q_norm(q),
        layer.k_norm(k),
        v,
        attn_mask=attn_mask,
        dropout_p=layer.attn_drop.p if layer.training else 0.0,
        is_causal=is_causal,
        scale=layer.scale,
    )
    mixed = getattr(layer, "norm", _same)(mixed.transpose(1, 2).reshape(count, n, -1))
    answer: torch.Tensor = layer.proj_drop(layer.proj(mixed if gate is None else mixed * gate(x).sigmoid()))
    return answer


def smp_reduced(layer: Any, x: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """smp's attention of Mix Transformers, with keys and values of fewer places: (n, tokens, width) to the same."""
    fewer = layer.norm(_tokens(layer.sr(_image(x, height, width)))) if layer.sr_ratio > 1 else x
    return _reduced(layer, x, fewer)


def timm_reduced(layer: Any, x: torch.Tensor, feat_size: Sequence[int]) -> torch.Tensor:
    """timm's attention of Pyramid Vision Transformers (PVT v2): as `smp_reduced`."""
    fewer = x
    if layer.sr is not None:
        image = _image(x, *feat_size)
        fewer = layer.norm(_tokens(layer.sr(image if layer.pool is None else layer.pool(image))))
        fewer = fewer if layer.act is None else layer.act(fewer)
    return _reduced(layer, x, fewer)


def torch_multihead(
    layer: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    key_padding_mask: torch.Tensor | None = None,
    need_weights: bool = True,
    attn_mask: torch.Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """torch's MultiheadAttention: it takes and gives the same. `is_causal` only says what the mask is."""
    from torch.nn import functional

    batched, first = query.dim() == 3, layer.batch_first
    q, k, v = (
        rows.reshape(*rows.shape[:2], layer.num_heads, -1).transpose(1, 2)
        for rows in (_batch_first(item, batched, first) for item in _projected(layer, query, key, value))
    )
    mask = _merged(attn_mask, key_padding_mask, q)
    drop, scale = layer.dropout if layer.training else 0.0, layer.head_dim**-0.5
    weights = None
    if need_weights:
        scores = (q * scale) @ k.transpose(-2, -1)
        weights = functional.dropout((scores if mask is None else scores + mask).softmax(dim=-1), drop)
        mixed = weights @ v
        weights = weights.mean(dim=1) if average_attn_weights else weights
        weights = weights if batched else weights[0]
    else:
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=drop, scale=scale)
    answer = layer.out_proj(mixed.transpose(1, 2).flatten(2))
    return (answer if first else answer.transpose(0, 1)) if batched else answer[0], weights


def _reduced(layer: Any, x: torch.Tensor, fewer: torch.Tensor) -> torch.Tensor:
    count, n, _ = x.shape
    q = layer.q(x).reshape(count, n, layer.num_heads, -1).transpose(1, 2)
    k, v = layer.kv(fewer).reshape(count, fewer.shape[1], 2, layer.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    weights = layer.attn_drop(((q @ k.transpose(-2, -1)) * layer.scale).softmax(dim=-1))
    answer: torch.Tensor = layer.proj_drop(layer.proj((weights @ v).transpose(1, 2).reshape(count, n, -1)))
    return answer


def _image(tokens: torch.Tensor, height: int, width: int) -> torch.Tensor:
    return tokens.transpose(1, 2).reshape(len(tokens), -1, height, width)


def _tokens(image: torch.Tensor) -> torch.Tensor:
    return image.flatten(2).transpose(1, 2)


def _same(x: torch.Tensor) -> torch.Tensor:
    return x


def _batch_first(x: torch.Tensor, batched: bool, first: bool) -> torch.Tensor:
    """(n, tokens, width) of what torch's layer takes: that, (tokens, n, width), or (tokens, width) of one item."""
    if not batched:
        return x.unsqueeze(0)
    return x if first else x.transpose(0, 1)


def _projected(layer: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Sequence[torch.Tensor]:
    """Queries, keys and values of all heads; of one and the same input by one product, as torch does."""
    from torch.nn.functional import linear

    packed, bias = layer.in_proj_weight, layer.in_proj_bias
    if packed is not None and query is key is value:
        return linear(query, packed, bias).chunk(3, dim=-1)
    weights = (layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight) if packed is None else _thirds(packed)
    biases = (None,) * 3 if bias is None else _thirds(bias)
    return [linear(*one) for one in zip((query, key, value), weights, biases, strict=True)]


def _thirds(x: torch.Tensor) -> list[torch.Tensor]:
    """The three equal parts of the first axis, each cut for itself: exporters fold that away."""
    size = len(x) // 3
    return [x[:size], x[size : 2 * size], x[2 * size :]]


def _merged(attention: torch.Tensor | None, padding: torch.Tensor | None, q: torch.Tensor) -> torch.Tensor | None:
    """Both masks as numbers to be added to the scores (n, heads, queries, keys); None without a mask."""
    import torch

    def numbers(mask: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(mask, dtype=q.dtype).masked_fill(mask, -torch.inf) if mask.dtype == torch.bool else mask

    count, heads, queries, _ = q.shape
    found = []
    if attention is not None:
        alike = attention.dim() == 2  # for all items and heads; else (n x heads, queries, keys)
        found.append(numbers(attention if alike else attention.reshape(count, heads, queries, -1)))
    if padding is not None:
        found.append(numbers(padding).reshape(count, 1, 1, -1))
    return sum(found[1:], found[0]) if found else None

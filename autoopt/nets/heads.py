"""Attention heads as units of pruning, for the attention layers listed in `KINDS`.

The graph cannot be followed through the reshape that splits channels into heads, so each known kind of layer says
where its heads are in its weights, and `refit` lets a layer work with fewer of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoopt.nets.tracing import Group

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Kind:
    """Where an attention layer of class `name` has its heads.

    They follow one another in the rows of the linear layers `makes` (queries, keys and values, or one of these), in the
    columns of the linear layer `takes`, and along the axes `counts` (name of a weight, axis).
    """

    name: str
    makes: tuple[str, ...]
    takes: str
    counts: tuple[tuple[str, int], ...] = ()


KINDS = (
    Kind("monai.networks.blocks.selfattention.SABlock", ("qkv", "to_q", "to_k", "to_v"), "out_proj"),
    Kind("monai.networks.blocks.crossattention.CrossAttentionBlock", ("to_q", "to_k", "to_v"), "out_proj"),
    Kind(
        "monai.networks.nets.swin_unetr.WindowAttention",
        ("qkv",),
        "proj",
        counts=(("relative_position_bias_table", 1),),
    ),
)


def head_groups(model: torch.nn.Module) -> list[Group]:
    """One group for each attention layer of a known kind: its heads."""
    found = []
    for path, layer in model.named_modules():
        kind = kind_of(layer)
        if kind is not None:
            group = _group(path, layer, kind)
            found += [group] if group is not None else []
    return found


def kind_of(layer: torch.nn.Module) -> Kind | None:
    """The kind of an attention layer; None of any other layer."""
    names = {f"{parent.__module__}.{parent.__qualname__}" for parent in type(layer).__mro__}
    return next((kind for kind in KINDS if kind.name in names), None)


def _group(path: str, layer: Any, kind: Kind) -> Group | None:
    import torch

    heads = int(layer.num_heads)
    if getattr(layer, "rel_positional_embedding", None) is not None:
        return None
    axes: list[tuple[str, int]] = []
    places: list[list[list[int]]] = []  # by axis, then by head

    def add(name: str, axis: int, size: int, parts: int) -> None:
        width = size // (parts * heads)
        axes.append((f"{path}.{name}" if path else name, axis))
        places.append(
            [
                [(part * heads + head) * width + index for part in range(parts) for index in range(width)]
                for head in range(heads)
            ]
        )

    for name in kind.makes:
        linear = getattr(layer, name)
        if isinstance(linear, torch.nn.Linear):
            parts = 3 if name == "qkv" else 1
            add(f"{name}.weight", 0, linear.out_features, parts)
            if linear.bias is not None:
                add(f"{name}.bias", 0, linear.out_features, parts)
    takes = getattr(layer, kind.takes)
    if not isinstance(takes, torch.nn.Linear):
        return None
    add(f"{kind.takes}.weight", 1, takes.in_features, 1)
    for name, axis in kind.counts:
        add(name, axis, heads, 1)
    members = tuple(tuple(tuple(place[head]) for place in places) for head in range(heads))
    return Group(tuple(axes), members, heads=path)


def refit(layer: Any, heads: int) -> None:
    """Let an attention layer work with `heads` heads, each as wide as before."""
    kind = kind_of(layer)
    assert kind is not None
    layer.num_heads = heads
    if kind.name.endswith("WindowAttention"):
        layer.__class__ = _window_attention()
        return
    from einops.layers.torch import Rearrange

    combined = getattr(layer, "use_combined_linear", False)
    pattern = "b h (qkv l d) -> qkv b l h d" if combined else "b h (l d) -> b l h d"
    layer.input_rearrange = Rearrange(pattern, l=heads, **({"qkv": 3} if combined else {}))


def _window_attention() -> type[Any]:
    """MONAI's window attention of Swin, for heads that are not as wide as the tokens divided by the number of heads."""
    from monai.networks.nets.swin_unetr import WindowAttention

    class WindowAttentionOfHeads(WindowAttention):  # type: ignore[misc]
        def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
            windows, n, _ = x.shape
            q, k, v = self.qkv(x).reshape(windows, n, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
            places = self.relative_position_index[:n, :n].reshape(-1)
            bias = self.relative_position_bias_table[places].reshape(n, n, -1).permute(2, 0, 1)
            attention = (q * self.scale) @ k.transpose(-2, -1) + bias.unsqueeze(0)
            if mask is not None:
                masked = attention.reshape(windows // len(mask), len(mask), self.num_heads, n, n)
                attention = (masked + mask.unsqueeze(1).unsqueeze(0)).reshape(-1, self.num_heads, n, n)
            mixed = self.attn_drop(self.softmax(attention)).to(v.dtype) @ v
            answer: torch.Tensor = self.proj_drop(self.proj(mixed.transpose(1, 2).reshape(windows, n, -1)))
            return answer

    return WindowAttentionOfHeads

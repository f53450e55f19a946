"""Attention heads as units of pruning, for the attention layers listed in `KINDS`.

The graph cannot be followed through the reshape that splits channels into heads, so each known kind of layer says
where its heads are in its weights, and `refit` lets a layer work with fewer of them, and with narrower tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoopt.nets import attention_layers
from autoopt.nets.tracing import Group

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Kind:
    """Where attention layers of the classes `names` have their heads.

    They follow one another in the rows of what `makes` them (linear layers, norms, or weights of the layer's own: of
    queries, keys, values, or several of these), in the columns of the linear layer `takes`, and along the axes `counts`
    (name of a weight, axis). `forward` answers in place of the layer's own code. Layers with one of the attributes
    `unless` are none of the kind. `fixed_scale` says that scores are scaled by what the layer was built with: then the
    places inside of a single head may go too.
    """

    names: tuple[str, ...]
    makes: tuple[str, ...]
    takes: str
    counts: tuple[tuple[str, int], ...] = ()
    forward: Callable[..., Any] | None = None
    unless: tuple[str, ...] = ()
    fixed_scale: bool = True


KINDS = (
    Kind(
        (
            "monai.networks.blocks.selfattention.SABlock",
            "monai.networks.blocks.crossattention.CrossAttentionBlock",
        ),
        ("qkv", "to_q", "to_k", "to_v"),
        "out_proj",
        unless=("rel_positional_embedding",),
    ),
    Kind(
        ("monai.networks.nets.swin_unetr.WindowAttention",),
        ("qkv",),
        "proj",
        counts=(("relative_position_bias_table", 1),),
        forward=attention_layers.monai_windows,
    ),
    Kind(
        ("timm.layers.attention.Attention", "timm.models.vision_transformer.Attention"),
        ("qkv", "norm", "gate"),
        "proj",
        forward=attention_layers.timm_tokens,
    ),
    Kind(
        ("timm.models.swin_transformer.WindowAttention",),
        ("qkv",),
        "proj",
        counts=(("relative_position_bias_table", 1),),
        fixed_scale=False,
    ),
    Kind(
        ("segmentation_models_pytorch.encoders.mix_transformer.Attention",),
        ("q", "kv"),
        "proj",
        forward=attention_layers.smp_reduced,
    ),
    Kind(
        ("timm.models.pvt_v2.Attention",),
        ("q", "kv"),
        "proj",
        forward=attention_layers.timm_reduced,
    ),
    Kind(
        ("torch.nn.modules.activation.MultiheadAttention",),
        ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias"),
        "out_proj",
        forward=attention_layers.torch_multihead,
        unless=("bias_k", "add_zero_attn"),
    ),
)
INSIDE_NORMS = ("q_norm", "k_norm")
"""Norms over the places of a head: then they stay."""


def head_groups(model: torch.nn.Module) -> list[Group]:
    """One group for each attention layer of a known kind: its heads, or the places of the only one."""
    found = []
    for path, layer in model.named_modules():
        kind = kind_of(layer)
        if kind is not None:
            group = _group(path, layer, kind)
            found += [group] if group is not None else []
    return found


def kind_of(layer: torch.nn.Module) -> Kind | None:
    """The kind of an attention layer; None of any other, also where a derived class has code of its own."""
    own = next(parent for parent in type(layer).__mro__ if "forward" in vars(parent))
    name = vars(own).get("of_kind", f"{own.__module__}.{own.__qualname__}")
    kind = next((kind for kind in KINDS if name in kind.names), None)
    if kind is None or any(_has(layer, attribute) for attribute in kind.unless):
        return None
    return kind


def _has(layer: torch.nn.Module, attribute: str) -> bool:
    value = getattr(layer, attribute, None)
    return value is not None and value is not False


def _group(path: str, layer: Any, kind: Kind) -> Group | None:
    import torch

    takes, heads = getattr(layer, kind.takes), int(layer.num_heads)
    if not isinstance(takes, torch.nn.Linear) or takes.in_features % heads:
        return None
    width, alone = takes.in_features // heads, heads == 1
    if alone:
        if not kind.fixed_scale or any(_weights(layer, name) != {} for name in INSIDE_NORMS):
            return None
        heads, width = width, 1
    axes: list[tuple[str, int]] = []
    places: list[list[list[int]]] = []  # by axis, then by head

    def add(name: str, axis: int, parts: int, width: int) -> None:
        axes.append((f"{path}.{name}" if path else name, axis))
        places.append(
            [
                [(part * heads + head) * width + index for part in range(parts) for index in range(width)]
                for head in range(heads)
            ]
        )

    for maker in kind.makes:
        weights = _weights(layer, maker)
        if weights is None:
            return None
        for name, weight in weights.items():
            add(name, 0, len(weight) // takes.in_features, width)
    add(f"{kind.takes}.weight", 1, 1, width)
    if not alone:
        for name, axis in kind.counts:
            add(name, axis, 1, 1)
    members = tuple(tuple(tuple(place[head]) for place in places) for head in range(heads))
    return Group(tuple(axes), members, heads=None if alone else path)


def _weights(layer: Any, name: str) -> Mapping[str, torch.Tensor] | None:
    """The weights called `name`, or those of a linear layer or norm of that name; None of what is no such layer."""
    import torch

    item = getattr(layer, name, None)
    if isinstance(item, torch.Tensor):
        return {name: item}
    if item is None or isinstance(item, torch.nn.Identity):
        return {}
    if isinstance(item, torch.nn.Linear | torch.nn.LayerNorm | torch.nn.RMSNorm):
        return {f"{name}.{key}": value for key, value in item.named_parameters()}
    return None


def refit(layer: Any, heads: int) -> None:
    """Let an attention layer work with `heads` heads, each as wide as before, and with tokens of any width."""
    kind = kind_of(layer)
    assert kind is not None
    layer.num_heads = heads
    if hasattr(layer, "_qkv_same_embed_dim"):
        layer._qkv_same_embed_dim = False  # torch's own encoder layers pass by our code otherwise
    if hasattr(layer, "input_rearrange"):
        from einops.layers.torch import Rearrange

        combined = getattr(layer, "use_combined_linear", False)
        pattern = "b h (qkv l d) -> qkv b l h d" if combined else "b h (l d) -> b l h d"
        layer.input_rearrange = Rearrange(pattern, l=heads, **({"qkv": 3} if combined else {}))
    if kind.forward is not None and "of_kind" not in vars(type(layer)):
        layer.__class__ = _answering(type(layer), kind)


def _answering(base: type[Any], kind: Kind) -> type[Any]:
    """A class of layers that answer with the code of their kind."""
    return type(f"{base.__name__}OfHeads", (base,), {"forward": kind.forward, "of_kind": kind.names[0]})

"""Widths that networks of other libraries remember as plain numbers, so that they can be told of smaller ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Width:
    """Layers of the class `name` keep the size of an axis of a weight in `attribute`, or in the last place of that."""

    name: str
    attribute: str
    weight: str
    axis: int


WIDTHS = (
    Width("torchvision.models.vision_transformer.VisionTransformer", "hidden_dim", "class_token", 2),
    Width("monai.networks.nets.unetr.UNETR", "proj_view_shape", "decoder5.transp_conv.conv.weight", 0),
)


def remember(layer: torch.nn.Module) -> None:
    """Bring the widths that a layer remembers, of those in `WIDTHS`, to those that its weights have now."""
    names = {f"{parent.__module__}.{parent.__qualname__}" for parent in type(layer).__mro__}
    for width in WIDTHS:
        if width.name in names:
            known, now = getattr(layer, width.attribute), _size(layer, width)
            setattr(layer, width.attribute, now if isinstance(known, int) else [*known[:-1], now])


def _size(layer: torch.nn.Module, width: Width) -> int:
    path, _, attribute = width.weight.rpartition(".")
    owner: Any = layer.get_submodule(path)
    return int(getattr(owner, attribute).shape[width.axis])

"""Widths that layers of other libraries remember as plain numbers, so that they can be told of smaller ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Width:
    """Layers of the class `name` keep the size of an axis of one of their weights in `attribute`."""

    name: str
    attribute: str
    weight: str
    axis: int


WIDTHS = (Width("torchvision.models.vision_transformer.VisionTransformer", "hidden_dim", "class_token", 2),)


def widths_of(layer: torch.nn.Module) -> list[Width]:
    """The widths that a layer remembers, of those in `WIDTHS`."""
    names = {f"{parent.__module__}.{parent.__qualname__}" for parent in type(layer).__mro__}
    return [width for width in WIDTHS if width.name in names]


def remember(layer: Any) -> None:
    """Bring the widths that a layer remembers to those that its weights have now."""
    for width in widths_of(layer):
        path, _, attribute = width.weight.rpartition(".")
        weight = getattr(layer.get_submodule(path), attribute)
        setattr(layer, width.attribute, int(weight.shape[width.axis]))

"""Layers that cut off their inputs at learnt bounds (PACT, Choi et al. 2018): a part of the network that stays in it.

Quantizers take the range of an input from what they see, so that they find the bounds that were learnt: whatever tool
quantizes, and in whatever format, its steps are those that the network was trained with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class _Clip:
    """A hook that cuts off what a layer is given; a value of its own, so that a copied network has it too."""

    low: float
    high: float

    def __call__(self, layer: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        value, *others = inputs
        return (value.clamp(self.low, self.high), *others)


def put(model: torch.nn.Module, clips: Mapping[str, Sequence[float]]) -> None:
    """Let the layers called so cut off their inputs, each at its low and its high bound, in the place of older bounds.

    Raises AttributeError for a name that is no layer of the model.
    """
    for name, (low, high) in clips.items():
        layer = model.get_submodule(name)
        hooks = layer._forward_pre_hooks
        for key in [key for key, hook in hooks.items() if isinstance(hook, _Clip)]:
            del hooks[key]
        layer.register_forward_pre_hook(_Clip(float(low), float(high)))


def specs(model: torch.nn.Module) -> dict[str, list[float]]:
    """The bounds of all layers that have some, by name: low and high. `put` takes them."""
    return {
        name: [hook.low, hook.high]
        for name, layer in model.named_modules()
        for hook in layer._forward_pre_hooks.values()
        if isinstance(hook, _Clip)
    }

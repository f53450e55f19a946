"""Training as if integers computed: what rounding does to a network, seen while its weights can still make up for it.

Inside the block the weights and the inputs of all layers with weights are rounded as integers of eight bits would be,
and gradients pass as if they were not (Jacob et al. 2018; the straight-through estimator of Bengio et al. 2013).
Afterwards the network is in float again: the quantizer that comes later finds weights that bear it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

WEIGHT_LEVELS = 63.0
"""Symmetric, with seven bits: CPUs without VNNI add products of eight bits in sixteen, so quantizers leave one out."""
INPUT_LEVELS = 255.0
MOMENTUM = 0.05
"""How much of a range is that of the last batch."""


@contextmanager
def as_integers(model: torch.nn.Module) -> Iterator[None]:
    """Round the weights and inputs of all convolutions and linear layers of the model inside the block."""
    from torch import nn
    from torch.nn.utils import parametrize

    layers = [item for item in model.modules() if isinstance(item, nn.modules.conv._ConvNd | nn.Linear)]
    with ExitStack() as held:
        for layer in layers:
            axis = 1 if getattr(layer, "transposed", False) else 0
            parametrize.register_parametrization(layer, "weight", _rounded_weight(axis))
            held.callback(parametrize.remove_parametrizations, layer, "weight", leave_parametrized=False)
            held.callback(layer.register_forward_pre_hook(_Inputs()).remove)
        yield


def _rounded_weight(axis: int) -> torch.nn.Module:
    import torch

    class RoundedWeight(torch.nn.Module):
        """Each output channel has a scale of its own."""

        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            others = [place for place in range(weight.ndim) if place != axis]
            scale = weight.detach().abs().amax(dim=others, keepdim=True).clamp(min=1e-12) / WEIGHT_LEVELS
            return through(weight, torch.round(weight / scale) * scale)

    return RoundedWeight()


class _Inputs:
    """Rounds what a layer is given, in the range that its inputs have had so far."""

    def __init__(self) -> None:
        self._low: torch.Tensor | None = None
        self._high: torch.Tensor | None = None

    def __call__(self, layer: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        import torch

        value, *others = inputs
        low, high = value.detach().amin().clamp(max=0).float(), value.detach().amax().clamp(min=0).float()
        if self._low is None or self._high is None:
            self._low, self._high = low, high
        elif layer.training:
            self._low = torch.lerp(self._low, low, MOMENTUM)
            self._high = torch.lerp(self._high, high, MOMENTUM)
        scale = ((self._high - self._low) / INPUT_LEVELS).clamp(min=1e-12)
        zero = torch.round(-self._low / scale)
        steps = (torch.round(value / scale) + zero).clamp(0, INPUT_LEVELS) - zero
        return (through(value, (steps * scale).to(value.dtype)), *others)


def through(value: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
    """The rounded value, with the gradient of the value itself."""
    return value + (rounded - value).detach()

"""Fake quantization: a network is trained while its weights and inputs are rounded as 8-bit integers would be.

Inside the block `fake_quantized` the weights of all layers, and what layers and activations are given, are rounded.
Gradients pass as if they were not (Jacob et al. 2018; the straight-through estimator of Bengio et al. 2013); the ends
of a range also get the gradient of its step size (Esser et al. 2020), so that a network unlearns its outliers.
Afterwards the network is in float again, with weights that lose less when they are quantized.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

WEIGHT_LEVELS = 63.0
"""The largest integer of a weight, symmetric and of 7 bits: without VNNI, CPUs add products of 8 bits in 16."""
INPUT_LEVELS = 255.0
"""The largest integer of an input, asymmetric and of 8 bits."""
MOMENTUM = 0.05
"""How fast the range of an input shrinks to that of the last batch. It grows at once: quantizers take the largest."""


@contextmanager
def fake_quantized(model: torch.nn.Module) -> Iterator[None]:
    """Inside the block, round the weights of convolutions and linear layers, and the inputs of all layers but norms."""
    from torch import nn
    from torch.nn.utils import parametrize

    parts = [item for item in model.modules() if not list(item.children()) and not _is_absorbed(item)]
    with ExitStack() as held:
        for part in parts:
            held.callback(part.register_forward_pre_hook(_Inputs()).remove)
            if isinstance(part, nn.modules.conv._ConvNd | nn.Linear):
                axis = 1 if getattr(part, "transposed", False) else 0
                parametrize.register_parametrization(part, "weight", _rounded_weight(axis))
                held.callback(parametrize.remove_parametrizations, part, "weight", leave_parametrized=False)
        yield


def _is_absorbed(part: torch.nn.Module) -> bool:
    """Whether quantizers fold the layer into the one before it, so that nothing is rounded between the two."""
    from torch import nn

    return isinstance(part, nn.modules.batchnorm._NormBase | nn.GroupNorm | nn.LayerNorm | nn.ReLU | nn.ReLU6)


def _rounded_weight(axis: int) -> torch.nn.Module:
    import torch

    class RoundedWeight(torch.nn.Module):
        """A weight rounded with a scale for each output channel."""

        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            others = [place for place in range(weight.ndim) if place != axis]
            scale = weight.detach().abs().amax(dim=others, keepdim=True).clamp(min=1e-12) / WEIGHT_LEVELS
            return through(weight, torch.round(weight / scale) * scale)

    return RoundedWeight()


class _Inputs:
    """A hook that rounds what a layer is given, within the range of its inputs so far."""

    def __init__(self) -> None:
        self._low: torch.Tensor | None = None
        self._high: torch.Tensor | None = None

    def __call__(self, layer: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        import torch

        value, *others = inputs or (None,)
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return inputs
        exact = value.float()
        low, high = exact.amin().clamp(max=0), exact.amax().clamp(min=0)
        if self._low is not None and self._high is not None:
            shrunk = MOMENTUM if layer.training else 0.0
            low = torch.minimum(low, torch.lerp(self._low, low.detach(), shrunk))
            high = torch.maximum(high, torch.lerp(self._high, high.detach(), shrunk))
        self._low, self._high = low.detach(), high.detach()
        scale = ((high - low) / INPUT_LEVELS).clamp(min=1e-12)
        zero = torch.round(-low / scale)
        steps = (torch.round(exact / scale) + zero).clamp(0, INPUT_LEVELS) - zero
        return ((exact + (steps - exact / scale).detach() * scale).to(value.dtype), *others)


def through(value: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
    """`rounded` with the gradient of `value` (straight-through estimator)."""
    return value + (rounded - value).detach()

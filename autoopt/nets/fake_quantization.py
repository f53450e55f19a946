"""Fake quantization: a network is trained while its weights and inputs are rounded as 8-bit integers would be.

Inside the block `fake_quantized` the weights of all layers, and what layers and activations are given, are rounded.
Gradients pass as if they were not (Jacob et al. 2018; the straight-through estimator of Bengio et al. 2013); the ends
of a range also get the gradient of its step size (Esser et al. 2020), so that a network unlearns its outliers.
Afterwards the network is in float again, with weights that lose less when they are quantized.

The ranges of what convolutions and linear layers are given may be learnt too: clipping as in PACT (Choi et al. 2018),
with the gradient of LSQ (Esser et al. 2020; Bhalgat et al. 2020 for ranges with two ends). What is cut off then stays
cut off in the network (clipping.py). NNCF learns ranges as well, but in networks that it wraps: those are neither
stored nor exported as others are, and it compiles C++ on the host that trains.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from autoopt.nets import clipping

if TYPE_CHECKING:
    import torch

WEIGHT_LEVELS = 63.0
"""The largest integer of a weight, symmetric and of 7 bits: without VNNI, CPUs add products of 8 bits in 16."""
INPUT_LEVELS = 255.0
"""The largest integer of an input, asymmetric and of 8 bits."""
MOMENTUM = 0.05
"""How fast the range of an input shrinks to that of the last batch. It grows at once: quantizers take the largest."""


LEARNT = "learnt_range"
"""What the two numbers of a layer are called that say how far its range is from the one that was seen, while they are
learnt: they are weights of the network then, so that the optimiser has them and the best ones are remembered."""
SPEED = 20.0
"""How much faster than weights they move: at a rate of 0.001 an end of a range grows e times in 50 steps at most."""


class Ranges:
    """The ranges of the inputs of a network's layers, inside the block of `fake_quantized`."""

    def __init__(self) -> None:
        self._inputs: dict[str, tuple[torch.nn.Module, _Inputs]] = {}

    def learn(self) -> None:
        """Train the ranges from now on, from those that were seen so far: those of convolutions and linear layers."""
        for layer, inputs in self._inputs.values():
            inputs.learn(layer)

    def _watch(self, name: str, layer: torch.nn.Module) -> _Inputs:
        inputs = _Inputs()
        if _has_weights(layer):
            self._inputs[name] = layer, inputs
        return inputs

    def _end(self, model: torch.nn.Module) -> None:
        """Take the learnt numbers out of the network again; it cuts off what is outside of the ranges from now on."""
        clips = {}
        for name, (layer, inputs) in self._inputs.items():
            if hasattr(layer, LEARNT):
                if (clip := inputs.clip(layer)) is not None:
                    clips[name] = clip
                delattr(layer, LEARNT)
        clipping.put(model, clips)


@contextmanager
def fake_quantized(model: torch.nn.Module) -> Iterator[Ranges]:
    """Inside the block, round the weights of convolutions and linear layers, and the inputs of all layers but norms.

    The block is given the ranges of the inputs, which it may have learnt.
    """
    from torch.nn.utils import parametrize

    parts = [(name, item) for name, item in model.named_modules() if not list(item.children())]
    ranges = Ranges()
    with ExitStack() as held:
        held.callback(ranges._end, model)
        for name, part in parts:
            if _is_absorbed(part):
                continue
            held.callback(part.register_forward_pre_hook(ranges._watch(name, part)).remove)
            if _has_weights(part):
                axis = 1 if getattr(part, "transposed", False) else 0
                parametrize.register_parametrization(part, "weight", _rounded_weight(axis))
                held.callback(parametrize.remove_parametrizations, part, "weight", leave_parametrized=False)
        yield ranges


def _has_weights(part: torch.nn.Module) -> bool:
    """Whether it is a layer whose weights and inputs become integers."""
    from torch import nn

    return isinstance(part, nn.modules.conv._ConvNd | nn.Linear)


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
    """A hook that rounds what a layer is given, within the range of its inputs so far, or within a learnt one."""

    def __init__(self) -> None:
        self._low: torch.Tensor | None = None
        self._high: torch.Tensor | None = None
        self._first: tuple[torch.Tensor, torch.Tensor] | None = None

    def __call__(self, layer: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        import torch

        value, *others = inputs or (None,)
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return inputs
        exact = value.float()
        low, high = self._seen(exact, shrinks=layer.training)
        if self._first is not None:
            return (_rounded_within(exact, *self._learnt(layer, exact.numel())).to(value.dtype), *others)
        scale = ((high - low) / INPUT_LEVELS).clamp(min=1e-12)
        zero = torch.round(-low / scale)
        steps = (torch.round(exact / scale) + zero).clamp(0, INPUT_LEVELS) - zero
        return ((exact + (steps - exact / scale).detach() * scale).to(value.dtype), *others)

    def _seen(self, exact: torch.Tensor, *, shrinks: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """The range of all inputs with these, zero in it."""
        import torch

        low, high = exact.amin().clamp(max=0), exact.amax().clamp(min=0)
        if self._low is not None and self._high is not None:
            shrunk = MOMENTUM if shrinks else 0.0
            low = torch.minimum(low, torch.lerp(self._low, low.detach(), shrunk))
            high = torch.maximum(high, torch.lerp(self._high, high.detach(), shrunk))
        self._low, self._high = low.detach(), high.detach()
        return low, high

    def learn(self, layer: torch.nn.Module) -> None:
        """Let the layer have its range as two numbers that are learnt; one that saw no input has none."""
        import torch

        if self._low is not None and self._high is not None:
            self._first = self._low, self._high
            layer.register_parameter(LEARNT, torch.nn.Parameter(torch.zeros(2)))

    def clip(self, layer: torch.nn.Module) -> tuple[float, float] | None:
        """The bounds that were learnt; None where no input is beyond them."""
        assert self._low is not None and self._high is not None
        low, high = (float(end.detach()) for end in self._learnt(layer, 1))
        return None if low <= float(self._low) and high >= float(self._high) else (low, high)

    def _learnt(self, layer: torch.nn.Module, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The learnt ends of the range; their gradient is that of `count` inputs, brought to the size of a weight's."""
        assert self._first is not None
        numbers = getattr(layer, LEARNT)
        share = 1 / math.sqrt(count * INPUT_LEVELS)  # as in LSQ
        numbers = numbers * share + (numbers * (1 - share)).detach()
        low, high = (end * (SPEED * number).exp() for end, number in zip(self._first, numbers, strict=True))
        return low, high


def _rounded_within(exact: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """`exact` in steps of the range and cut off at its ends, with the gradients of LSQ for both."""
    import torch

    scale = ((high - low) / INPUT_LEVELS).clamp(min=1e-12)
    zero = through(-low / scale, torch.round(-low / scale))
    inside = exact / scale
    return ((through(inside, torch.round(inside)) + zero).clamp(0, INPUT_LEVELS) - zero) * scale


def through(value: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
    """`rounded` with the gradient of `value` (straight-through estimator)."""
    return value + (rounded - value).detach()

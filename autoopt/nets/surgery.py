"""Removing units (channels, heads) from a network in place: from its weights and the sizes its layers remember."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.errors import Unsupported, WeightsError
from autoopt.nets.heads import head_groups, kind_of, refit
from autoopt.nets.tracing import Group, groups
from autoopt.nets.widths import remember

if TYPE_CHECKING:
    import torch

Sizes = dict[str, dict[str, Any]]
"""The sizes that layers remember: name of the layer to name of the attribute to value."""
HEADS = "num_heads"
SAME_ANSWER = 1e-3
"""How far two ways to compute one network may be apart, relative to the largest answer."""
TINY = 1e-6
SIZE_ERRORS = (RuntimeError, ValueError, IndexError, AssertionError)
"""What the code of a network raises for sizes that it was not built for."""


def removable(model: torch.nn.Module, batch: torch.Tensor) -> list[Group]:
    """The groups of two or more units that can be removed from the model, each tried on a copy without data.

    `model` is in evaluation mode, `batch` an input of one item. Raises Unsupported when the model cannot be traced, or
    when one of its attention layers does not do what `nets/heads.py` says of its class.
    """
    fitted, answer = copy.deepcopy(model), model(batch)
    cut(fitted, {}, [])
    if any(kind_of(layer) is not None for layer in fitted.modules()):
        _must_agree(answer, fitted(batch))
    found = [group for group in (*groups(fitted, batch), *head_groups(fitted)) if len(group) > 1]
    return _supported(fitted.to("meta"), found, batch.to("meta"), tuple(answer.shape))


def _must_agree(answer: torch.Tensor, fitted: torch.Tensor) -> None:
    """Raises Unsupported where our code for the attention layers of a network does not answer as their own does."""
    apart, largest = (float(item.detach().abs().max()) for item in (answer - fitted, answer))
    if apart > SAME_ANSWER * largest + TINY:
        raise Unsupported(
            "the attention layers of the network must do what autoopt knows of their classes, the answers are "
            f"{apart:.2g} apart, the largest is {largest:.2g}: leave prune out or try another version of the library"
        )


def _supported(blank: torch.nn.Module, found: list[Group], batch: torch.Tensor, shape: tuple[int, ...]) -> list[Group]:
    """The prunable groups, found by bisection: a group is dropped if the model fails without one of its units."""
    if not found or _accepts(blank, found, batch, shape):
        return found
    if len(found) == 1:
        return []
    middle = len(found) // 2
    return [*_supported(blank, found[:middle], batch, shape), *_supported(blank, found[middle:], batch, shape)]


def _accepts(blank: torch.nn.Module, found: list[Group], batch: torch.Tensor, shape: tuple[int, ...]) -> bool:
    """Whether the model still answers with `shape` without the first unit of each group, tried on a copy."""
    fewer = copy.deepcopy(blank)
    try:
        cut(fewer, {place: [0] for place in range(len(found))}, found)
        return tuple(fewer(batch).shape) == shape
    except SIZE_ERRORS:
        return False


def cut(model: torch.nn.Module, removed: Mapping[int, Iterable[int]], among: list[Group]) -> None:
    """Remove units from `model` in place: `removed` maps the place of a group in `among` to the units that go.

    Two groups may share a weight, but no index of an axis of it.
    """
    import torch

    gone: dict[tuple[str, int], set[int]] = {}
    units_of = {place: sorted(set(units)) for place, units in removed.items()}
    for place, units in units_of.items():
        group = among[place]
        for unit in units:
            for key, indices in zip(group.axes, group.members[unit], strict=True):
                gone.setdefault(key, set()).update(indices)
    for (name, axis), places in sorted(gone.items()):
        layer, attribute = _owner(model, name)
        value = getattr(layer, attribute)
        if isinstance(value, int):  # a norm without weights remembers its channels all the same
            setattr(layer, attribute, value - len(places))
            continue
        keep = np.setdiff1d(np.arange(value.shape[axis]), sorted(places))
        set_weight(layer, attribute, value.detach().index_select(axis, torch.from_numpy(keep).to(value.device)))
        _shrunk(layer, attribute, axis, len(keep))
    gone_heads = {among[place].heads: len(units) for place, units in units_of.items()}
    for name, layer in model.named_modules():
        if kind_of(layer) is not None:  # also one that keeps its heads: its tokens may be narrower now
            refit(layer, layer.num_heads - gone_heads.get(name, 0))
        remember(layer)


def _owner(model: torch.nn.Module, name: str) -> tuple[Any, str]:
    path, _, attribute = name.rpartition(".")
    return model.get_submodule(path), attribute


def set_weight(layer: Any, attribute: str, value: torch.Tensor) -> None:
    """Replace a parameter or buffer of the layer by a tensor of any shape."""
    import torch

    if attribute in layer._parameters:
        trained = layer._parameters[attribute].requires_grad
        layer._parameters[attribute] = torch.nn.Parameter(value.contiguous(), requires_grad=trained)
    else:
        layer._buffers[attribute] = value.contiguous()


def _attributes(layer: torch.nn.Module) -> tuple[str, ...]:
    """The names of the attributes in which the layer remembers its sizes."""
    from torch import nn

    for kind, names in (
        (nn.modules.conv._ConvNd, ("in_channels", "out_channels", "groups")),
        (nn.Linear, ("in_features", "out_features")),
        (nn.modules.batchnorm._NormBase, ("num_features",)),
        (nn.GroupNorm, ("num_channels", "num_groups")),
        (nn.LayerNorm, ("normalized_shape",)),
        (nn.PReLU, ("num_parameters",)),
    ):
        if isinstance(layer, kind):
            return names
    return () if kind_of(layer) is None else (HEADS,)


def sizes(model: torch.nn.Module) -> Sizes:
    """The sizes that all layers remember."""
    found = {name: {key: getattr(layer, key) for key in _attributes(layer)} for name, layer in model.named_modules()}
    return {name: own for name, own in found.items() if own}


def resize(model: torch.nn.Module, remembered: Sizes, tensors: Mapping[str, torch.Tensor]) -> None:
    """Turn a fresh model into one that was cut: the sizes that its layers remember, then its weights.

    Raises WeightsError naming what does not belong to such a model.
    """
    layers = dict(model.named_modules())
    wrong = [
        f"{name}.{key}"
        for name, own in remembered.items()
        for key in own
        if name not in layers or key not in _attributes(layers[name])
    ]
    have = model.state_dict()
    wrong += sorted(set(tensors) ^ set(have))
    if wrong:
        raise WeightsError(
            f"the stored network must be one of this workload, its parts are not: {', '.join(wrong[:5])}"
        )
    for name, own in remembered.items():
        for key, value in own.items():
            _set_size(layers[name], key, value)
    for name, value in tensors.items():
        set_weight(*_owner(model, name), value.to(have[name].dtype))
    for layer in layers.values():
        remember(layer)


def _set_size(layer: Any, key: str, value: Any) -> None:
    if key == HEADS:
        refit(layer, value)
    else:
        setattr(layer, key, tuple(value) if isinstance(value, list) else value)


def _shrunk(layer: Any, attribute: str, axis: int, left: int) -> None:
    """Set the sizes that the layer remembers after an axis of its weight was cut to `left` places."""
    from torch import nn

    kind = kind_of(layer)
    if kind is not None or attribute == "bias":
        return
    if isinstance(layer, nn.modules.conv._ConvNd):
        inputs = (axis == 0) == layer.transposed
        if axis == 0 and 1 < layer.groups == layer.in_channels:  # depthwise: as many filters a channel as before
            many = layer.out_channels // layer.in_channels
            layer.groups = layer.in_channels = left if inputs else left // many
            layer.out_channels = layer.groups * many
        elif inputs:
            layer.in_channels = left * (1 if layer.transposed else layer.groups)
        else:
            layer.out_channels = left * (layer.groups if layer.transposed else 1)
    elif isinstance(layer, nn.Linear):
        setattr(layer, ("out_features", "in_features")[axis], left)
    elif isinstance(layer, nn.modules.batchnorm._NormBase):
        layer.num_features = left
    elif isinstance(layer, nn.GroupNorm):
        layer.num_groups = left if layer.num_groups == layer.num_channels else layer.num_groups
        layer.num_channels = left
    elif isinstance(layer, nn.LayerNorm):
        shape = list(layer.normalized_shape)
        shape[axis] = left
        layer.normalized_shape = tuple(shape)
    elif isinstance(layer, nn.PReLU):
        layer.num_parameters = left

"""Removing units from a network in place: fewer channels in weights, and what layers remember of their sizes."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.errors import WeightsError
from autoopt.nets.heads import head_groups, kind_of, refit
from autoopt.nets.tracing import Group, groups

if TYPE_CHECKING:
    import torch

Sizes = dict[str, dict[str, Any]]
"""What layers remember of their sizes: by the name of the layer, then of its attribute."""
HEADS = "num_heads"
SIZE_ERRORS = (RuntimeError, ValueError, IndexError, AssertionError)
"""What the code of a network raises of sizes that it was not built for."""


def removable(model: torch.nn.Module, batch: torch.Tensor) -> list[Group]:
    """All that can be removed of the model, each group tried: what it takes and gives has the same shape without it.

    `model` is in evaluation mode, `batch` an input of one item. Groups of one unit are left out: it must stay. Raises
    Unsupported when the model cannot be traced.
    """
    blank = copy.deepcopy(model).to("meta")
    shape = model(batch).shape
    found = [group for group in (*groups(model, batch), *head_groups(model)) if len(group) > 1]
    return _borne(blank, found, batch.to("meta"), tuple(shape))


def _borne(blank: torch.nn.Module, found: list[Group], batch: torch.Tensor, shape: tuple[int, ...]) -> list[Group]:
    """Those of the groups that the code of the model can do with less of: halved until the others are found."""
    if not found or _bears(blank, found, batch, shape):
        return found
    if len(found) == 1:
        return []
    middle = len(found) // 2
    return [*_borne(blank, found[:middle], batch, shape), *_borne(blank, found[middle:], batch, shape)]


def _bears(blank: torch.nn.Module, found: list[Group], batch: torch.Tensor, shape: tuple[int, ...]) -> bool:
    """Whether the code of the model works without a unit of each group: some code knows the sizes it was built with."""
    fewer = copy.deepcopy(blank)
    try:
        cut(fewer, {place: [0] for place in range(len(found))}, found)
        return tuple(fewer(batch).shape) == shape
    except SIZE_ERRORS:
        return False


def cut(model: torch.nn.Module, removed: Mapping[int, Iterable[int]], among: list[Group]) -> None:
    """Remove units in place: `removed` has, by the place of a group in `among`, the units that go.

    No two groups share an index of a weight, but they may share a weight.
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


def _owner(model: torch.nn.Module, name: str) -> tuple[Any, str]:
    path, _, attribute = name.rpartition(".")
    return model.get_submodule(path), attribute


def set_weight(layer: Any, attribute: str, value: torch.Tensor) -> None:
    """Put a tensor of any shape in the place of a parameter or buffer of the layer."""
    import torch

    if attribute in layer._parameters:
        trained = layer._parameters[attribute].requires_grad
        layer._parameters[attribute] = torch.nn.Parameter(value.contiguous(), requires_grad=trained)
    else:
        layer._buffers[attribute] = value.contiguous()


def _attributes(layer: torch.nn.Module) -> tuple[str, ...]:
    """What the layer remembers of its sizes."""
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
    """What all layers remember of their sizes."""
    found = {name: {key: getattr(layer, key) for key in _attributes(layer)} for name, layer in model.named_modules()}
    return {name: own for name, own in found.items() if own}


def resize(model: torch.nn.Module, remembered: Sizes, tensors: Mapping[str, torch.Tensor]) -> None:
    """Make a fresh model the one that was cut: its layers remember `remembered`, its weights are `tensors`.

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


def _set_size(layer: Any, key: str, value: Any) -> None:
    if key == HEADS:
        refit(layer, value)
    else:
        setattr(layer, key, tuple(value) if isinstance(value, list) else value)


def _shrunk(layer: Any, attribute: str, axis: int, left: int) -> None:
    """Let the layer know that an axis of its weight has `left` places now."""
    from torch import nn

    kind = kind_of(layer)
    if kind is not None or attribute == "bias":
        return
    if isinstance(layer, nn.modules.conv._ConvNd):
        own = 1 < layer.groups == layer.in_channels == layer.out_channels  # a filter for each channel
        if own:
            layer.groups = layer.in_channels = layer.out_channels = left
        elif (axis == 0) != layer.transposed:
            layer.out_channels = left
        else:
            layer.in_channels = left * layer.groups
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

"""Which units of a network matter least: criteria that score them, and how many go from which group.

Scores are compared within a group, and between groups as multiples of the mean score of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from autoopt.nets.tracing import Group

if TYPE_CHECKING:
    import torch

    Weights = Mapping[str, torch.Tensor]

SMALLEST_SHARE = 0.1
"""Where groups compete, each keeps at least this share of what an even cut would leave it."""
SEED = 0


def magnitude(group: Group, weights: Weights, power: int) -> np.ndarray:
    """The p-norm of all that a unit has in weights of two or more axes, those that it makes and those that it feeds.

    Each weight counts alike, whatever its size (Li et al. 2017; over groups: Fang et al. 2023).
    """
    return _over_axes(group, weights, lambda name, value: value.abs() ** power) ** (1 / power)


def taylor(group: Group, weights: Weights, gradients: Weights) -> np.ndarray:
    """How much the loss changes, to first order, without the unit: |sum of weight times gradient| (Molchanov 2019)."""
    total = np.zeros(len(group))
    for name, values in _of_units(group, {key: weights[key] * gradients[key] for key in gradients if key in weights}):
        if _makes(name, group):
            total += values
    return np.abs(total)


def norm_scale(group: Group, weights: Weights) -> np.ndarray | None:
    """The scale that norms give to a channel (Liu et al. 2017, Network Slimming); None of a group without norms."""
    scales = [
        np.array([abs(float(weights[name][list(unit[place])].abs().mean())) for unit in group.members])
        for place, (name, axis) in enumerate(group.axes)
        if name in weights and weights[name].ndim == 1 and name.endswith("weight") and axis == 0
    ]
    return np.mean(scales, axis=0) if scales else None


def median_distance(group: Group, weights: Weights) -> np.ndarray:
    """The summed distance of a filter to all others: near the geometric median it is redundant (He et al. 2019)."""
    total = np.zeros(len(group))
    for place, (name, axis) in enumerate(group.axes):
        value = weights.get(name)
        if value is None or value.ndim < 2 or not _makes((name, axis), group):
            continue
        rows = value.movedim(axis, 0).reshape(value.shape[axis], -1)
        filters = np.stack([rows[list(unit[place])].reshape(-1).numpy() for unit in group.members])
        squares = (filters**2).sum(axis=1)
        between = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * filters @ filters.T, 0))
        total += _relative(between.sum(axis=1))
    return total


def chance(groups: Sequence[Group]) -> list[np.ndarray]:
    """Random scores, the same each time: the control of every criterion."""
    random = np.random.default_rng(SEED)
    return [random.random(len(group)) for group in groups]


def removed(
    groups: Sequence[Group],
    scores: Sequence[np.ndarray],
    left: float,
    *,
    even: bool,
    multiple: int,
    weight: Sequence[float] | None = None,
) -> dict[int, list[int]]:
    """The units to remove, by the place of their group, so that the share `left` of all stays.

    `even`: that share in each group; otherwise the lowest scores of all groups go, each group's scores times its
    `weight`. What is left of a group is a multiple of `multiple`, where it has as many (heads are whole anyway), and
    never nothing.
    """
    keeps = [len(group) * left for group in groups]
    if not even:
        keeps = _competing(groups, scores, left, weight or [1.0] * len(groups))
    gone = {}
    for place, (group, score, keep) in enumerate(zip(groups, scores, keeps, strict=True)):
        step = 1 if group.heads is not None else multiple
        count = min(len(group), max(step, round(keep / step) * step, 1))
        order = np.argsort(score, kind="stable")
        if count < len(group):
            gone[place] = sorted(int(unit) for unit in order[: len(group) - count])
    return gone


def _competing(
    groups: Sequence[Group], scores: Sequence[np.ndarray], left: float, weight: Sequence[float]
) -> list[float]:
    floors = [max(1, round(len(group) * left * SMALLEST_SHARE)) for group in groups]
    entries = sorted(
        (float(value), place)
        for place, (score, factor) in enumerate(zip(scores, weight, strict=True))
        for value in _relative(score) * factor
    )
    keeps = [len(group) for group in groups]
    surplus = sum(keeps) - round(sum(keeps) * left)
    for _, place in entries:
        if surplus > 0 and keeps[place] > floors[place]:
            keeps[place] -= 1
            surplus -= 1
    return [float(keep) for keep in keeps]


def _over_axes(group: Group, weights: Weights, size: Callable[[str, torch.Tensor], torch.Tensor]) -> np.ndarray:
    total = np.zeros(len(group))
    for _, values in _of_units(group, {name: size(name, weights[name]) for name, _ in group.axes if name in weights}):
        total += _relative(values)
    return total


def _of_units(group: Group, values: Weights) -> list[tuple[tuple[str, int], np.ndarray]]:
    """For every weight of two or more axes: the sum over what each unit has in it."""
    found = []
    for place, (name, axis) in enumerate(group.axes):
        value = values.get(name)
        if value is not None and value.ndim > 1:
            sums = value.movedim(axis, 0).reshape(value.shape[axis], -1).sum(dim=1).double().numpy()
            found.append(((name, axis), np.array([sums[list(unit[place])].sum() for unit in group.members])))
    return found


def _makes(key: tuple[str, int], group: Group) -> bool:
    """Whether the weight makes these channels: the first axis does, or none of the group's weights has them there."""
    return key[1] == 0 or all(axis != 0 for _, axis in group.axes)


def _relative(values: np.ndarray) -> np.ndarray:
    mean = float(np.mean(values))
    return values / mean if mean > 0 else np.ones_like(values)

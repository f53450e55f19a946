"""Which units of a network matter least: the pruning criteria that score them, and how many go from which group.

A criterion is one function: the groups of units, the network and the workload in, an array with a score for each unit
out, by group. Units with the lowest scores are removed. Scores are compared within a group, and between groups as
multiples of the mean score of their own.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from autoopt.core.tables import Table
from autoopt.nets.holdout import plain_batches, split
from autoopt.nets.recovery import OriginalAnswers
from autoopt.nets.surgery import cut
from autoopt.nets.tracing import Group
from autoopt.nets.training_step import loss_of
from autoopt.workloads.contract import Workload

if TYPE_CHECKING:
    import torch

    Weights = Mapping[str, torch.Tensor]
    Criterion = Callable[[Sequence[Group], torch.nn.Module, Workload], list[np.ndarray]]

CRITERIA = Table(
    "criterion",
    {
        "l1": "autoopt.nets.importance:l1",
        "l2": "autoopt.nets.importance:l2",
        "norm_scale": "autoopt.nets.importance:norm_scale",
        "fpgm": "autoopt.nets.importance:fpgm",
        "taylor": "autoopt.nets.importance:taylor",
        "random": "autoopt.nets.importance:random_scores",
    },
)
"""Name of a pruning criterion to its function, "package.module:function"."""
TRIED_TILES = 4
"""Training tiles on which gradients and the sensitivity of layers are measured."""
SMALLEST_SHARE = 0.1
"""Where groups compete, each keeps at least this share of what an even cut would leave it."""
SMALLEST_WEIGHT = 1e-3
"""The weight of a group whose half does nothing to the answers on a few tiles: it is still not worth nothing."""
SEED = 0


def criterion(name: str) -> Criterion:
    """The criterion called `name`. Raises KeyError for a name that is not in `CRITERIA`."""
    return cast("Criterion", CRITERIA.load(name))


def l1(groups: Sequence[Group], model: torch.nn.Module, workload: Workload) -> list[np.ndarray]:
    """The sum of absolute weights that compute a unit or use it (Li et al. 2017; over groups: Fang et al. 2023)."""
    weights = _weights_of(model)
    return [magnitude(group, weights, 1) for group in groups]


def l2(groups: Sequence[Group], model: torch.nn.Module, workload: Workload) -> list[np.ndarray]:
    """The Euclidean norm of the weights that compute a unit or use it (Li et al. 2017; Fang et al. 2023)."""
    weights = _weights_of(model)
    return [magnitude(group, weights, 2) for group in groups]


def norm_scale(groups: Sequence[Group], model: torch.nn.Module, workload: Workload) -> list[np.ndarray]:
    """The scale that norm layers give to a unit (Liu et al. 2017, Network Slimming); `l1` in groups without norms."""
    weights, found = _weights_of(model), []
    for group in groups:
        scale = mean_scale(group, weights)
        found.append(magnitude(group, weights, 1) if scale is None else scale)
    return found


def fpgm(groups: Sequence[Group], model: torch.nn.Module, workload: Workload) -> list[np.ndarray]:
    """The distance of a filter to all others: near the geometric median it is redundant (He et al. 2019)."""
    weights = _weights_of(model)
    return [distance_to_others(group, weights) for group in groups]


def taylor(groups: Sequence[Group], model: torch.nn.Module, workload: Workload) -> list[np.ndarray]:
    """How much the training loss changes without a unit, to first order, on some tiles (Molchanov et al. 2019)."""
    weights, slopes = _weights_of(model), gradients(model, workload, TRIED_TILES)
    return [loss_change(group, weights, slopes) for group in groups]


def random_scores(groups: Sequence[Group], model: torch.nn.Module, workload: Workload) -> list[np.ndarray]:
    """Random scores, the same each time: the control of every criterion."""
    random = np.random.default_rng(SEED)
    return [random.random(len(group)) for group in groups]


def magnitude(group: Group, weights: Weights, power: int) -> np.ndarray:
    """The p-norm, by unit, of what a unit has in weights of two or more axes, each weight relative to its mean."""
    return _over_axes(group, weights, lambda name, value: value.abs() ** power) ** (1 / power)


def loss_change(group: Group, weights: Weights, slopes: Weights) -> np.ndarray:
    """|sum of weight times gradient| over the weights that compute a unit, by unit."""
    total = np.zeros(len(group))
    for name, values in _of_units(group, {key: weights[key] * slopes[key] for key in slopes if key in weights}):
        if _makes(name, group):
            total += values
    return np.abs(total)


def mean_scale(group: Group, weights: Weights) -> np.ndarray | None:
    """The mean absolute scale that norm layers give to a unit, by unit; None of a group without norms."""
    scales = [
        np.array([abs(float(weights[name][list(unit[place])].abs().mean())) for unit in group.members])
        for place, (name, axis) in enumerate(group.axes)
        if name in weights and weights[name].ndim == 1 and name.endswith("weight") and axis == 0
    ]
    return np.mean(scales, axis=0) if scales else None


def distance_to_others(group: Group, weights: Weights) -> np.ndarray:
    """The summed distance of the filters of a unit to those of all others, by unit, over the mean of the group."""
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


def gradients(model: torch.nn.Module, workload: Workload, tiles: int) -> dict[str, torch.Tensor]:
    """The gradient of the training loss for every weight, summed over the first `tiles` training tiles."""
    model.requires_grad_(True)
    model.zero_grad()
    activation = workload.pipeline.activation
    for images, references in plain_batches(split(workload.splits.train)[0][:tiles], workload):
        loss_of(model(images).float(), references, activation).backward()  # type: ignore[no-untyped-call]
    found = {name: item.grad.detach() for name, item in model.named_parameters() if item.grad is not None}
    model.zero_grad(set_to_none=True)
    model.requires_grad_(False)
    return found


def layer_sensitivity(
    groups: Sequence[Group], scores: Sequence[np.ndarray], model: torch.nn.Module, workload: Workload
) -> list[float]:
    """How far the answers move when half of a group alone is removed, by group, over the mean of all groups."""
    answers = OriginalAnswers(model, workload, TRIED_TILES)
    harm = []
    for place, group in enumerate(groups):
        alone = {0: removed([group], [scores[place]], 0.5, even=True, multiple=1).get(0, [])}
        fewer = copy.deepcopy(model)
        cut(fewer, alone, [group])
        harm.append(answers.distance(fewer))
    mean = float(np.mean(harm)) or 1.0
    return [max(item / mean, SMALLEST_WEIGHT) for item in harm]


def removed(
    groups: Sequence[Group],
    scores: Sequence[np.ndarray],
    left: float,
    *,
    even: bool,
    multiple: int,
    weight: Sequence[float] | None = None,
) -> dict[int, list[int]]:
    """The units to remove, by the place of their group, so that the share `left` of all units stays.

    With `even` that share stays in each group; otherwise the lowest scores of all groups go, after those of each group
    were multiplied by its `weight`. At least one unit of a group stays, and what stays is a multiple of `multiple`
    where the group has as many units; of attention heads any number may stay.
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


def _weights_of(model: torch.nn.Module) -> Weights:
    return {name: value.detach() for name, value in model.state_dict().items()}


def _over_axes(group: Group, weights: Weights, size: Callable[[str, torch.Tensor], torch.Tensor]) -> np.ndarray:
    total = np.zeros(len(group))
    for _, values in _of_units(group, {name: size(name, weights[name]) for name, _ in group.axes if name in weights}):
        total += _relative(values)
    return total


def _of_units(group: Group, values: Weights) -> list[tuple[tuple[str, int], np.ndarray]]:
    """For every weight of two or more axes, as (name, axis): the sum over what each unit has in it."""
    found = []
    for place, (name, axis) in enumerate(group.axes):
        value = values.get(name)
        if value is not None and value.ndim > 1:
            sums = value.movedim(axis, 0).reshape(value.shape[axis], -1).sum(dim=1).double().numpy()
            found.append(((name, axis), np.array([sums[list(unit[place])].sum() for unit in group.members])))
    return found


def _makes(key: tuple[str, int], group: Group) -> bool:
    """Whether the weight computes these units: they are in its first axis, or in the first axis of no weight."""
    return key[1] == 0 or all(axis != 0 for _, axis in group.axes)


def _relative(values: np.ndarray) -> np.ndarray:
    mean = float(np.mean(values))
    return values / mean if mean > 0 else np.ones_like(values)

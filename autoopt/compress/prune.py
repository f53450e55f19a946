"""Step `prune`: whole channels and attention heads removed, and what is left trained again.

The ratio is reached by rungs: each begins with the network of the rung below, is cut a little further, and is
recovered by distillation from the whole network. A study makes each rung once, whatever it does with it later.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from autoopt.compress import training_settings
from autoopt.compress.base import Changed
from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter, numbers
from autoopt.errors import Unsupported
from autoopt.workloads.contract import Workload

if TYPE_CHECKING:
    import torch

    from autoopt.nets.tracing import Group

SWITCH = "ratio"
VERSION = 3
DISTRIBUTIONS: tuple[str, ...] = ("torch", "monai")
PARAMETERS: Mapping[str, Parameter] = {
    "ratio": Parameter(
        "number",
        None,
        "the share of channels (and of attention heads) that goes; at 0.5 a quarter of weights stays",
        low=0.0,
        high=0.99,
        nullable=True,
    ),
    "rungs": Parameter(
        "numbers",
        "0.3,0.5,0.65,0.75,0.85,0.92,0.96",
        "ratios on the way: each is cut from the one below and recovered",
        low=0.01,
        high=0.99,
        nullable=True,
    ),
    "criterion": Parameter(
        "choice",
        "l1",
        "what matters least: weights by size (l1, l2), scale of norms, nearness to the geometric "
        "median, change of the loss, or chance as a control",
        ("l1", "l2", "norm_scale", "fpgm", "taylor", "random"),
    ),
    "allocation": Parameter(
        "choice",
        "layer",
        "the same share of every layer, the lowest scores of all, or these weighted by what each "
        "layer's loss does to the answer",
        ("layer", "global", "sensitivity"),
    ),
    "multiple": Parameter(
        "choice", 1, "what is left of a layer is a multiple of this: kernels care", (1, 4, 8, 16, 32)
    ),
    "weights": Parameter(
        "choice",
        "kept",
        "fresh: cut at once, begun anew and trained for as long: the control of what is kept",
        ("kept", "fresh"),
    ),
    "steps": Parameter("integer", 120, "training steps after each cut; 0: batch norms only", low=0, high=100_000),
    "grow": Parameter(
        "number",
        0.0,
        "steps grow with (1 / (1 - ratio)) to this power: a small network learns cheaply, and needs it",
        low=0.0,
        high=2.0,
    ),
    **training_settings.PARAMETERS,
}
TRIED_TILES = 4
"""Tiles on which gradients and the sensitivity of layers are looked at."""
LEAST_WEIGHT = 1e-3
"""A layer whose half does nothing to the answers on a few tiles is still not worth nothing."""


def canonical(settings: Mapping[str, Scalar], runtime: Mapping[str, Scalar], host: Host) -> dict[str, Scalar] | None:
    """`settings` with defaults filled in, and only the rungs below the ratio; None when nothing is removed."""
    known = training_settings.canonical(PARAMETERS, SWITCH, settings, runtime, host)
    if known is not None:
        below = [rung for rung in _rungs(known["rungs"]) if rung < float(known["ratio"] or 0)]
        known["rungs"] = ",".join(map(repr, below)) or None
        if not known["steps"]:
            del known["grow"]
    return known


def _rungs(text: Scalar) -> list[float]:
    """The ratios of a text, rising."""
    return sorted(set(numbers(str(text)))) if text is not None else []


def parts(settings: Mapping[str, Scalar]) -> list[dict[str, Scalar]]:
    """The rungs up to the ratio, each as settings of its own; none where nothing is removed."""
    if not settings:
        return []
    ratios = [*_rungs(settings.get("rungs")), float(settings["ratio"] or 0)]
    own = {key: value for key, value in settings.items() if key not in ("ratio", "rungs", "grow")}
    steps = [round(int(settings["steps"] or 0) / (1 - ratio) ** float(settings.get("grow") or 0)) for ratio in ratios]
    if settings["weights"] == "fresh":
        return [{**own, "from": 0.0, "ratio": ratios[-1], "steps": sum(steps)}]
    return [
        {**own, "from": below, "ratio": ratio, "steps": count}
        for below, ratio, count in zip([0.0, *ratios], ratios, steps, strict=False)
    ]


def left(part: Mapping[str, Scalar]) -> float:
    """Both sides of a layer shrink."""
    return (1 - float(part["ratio"] or 0)) ** 2


def change(
    settings: Mapping[str, Scalar], model: torch.nn.Module, teacher: torch.nn.Module, workload: Workload
) -> Changed:
    """Cut `model` from one rung to the next and recover it: the smaller network and what was done.

    Raises Unsupported where nothing can be removed or the network cannot be traced, Numeric when the result is not
    finite.
    """
    from autoopt.nets import importance, recovery, surgery

    before = training_settings.Before(model, workload)
    groups = surgery.removable(model, before.batch)
    if not groups:
        raise Unsupported(f"prune must find channels to remove, {workload.name} has none but those of its answer")
    left = (1 - float(settings["ratio"] or 0)) / (1 - float(settings["from"] or 0))
    allocation, criterion = str(settings["allocation"]), str(settings["criterion"])
    scores = _scores(criterion, groups, model, workload)
    weight = _sensitivity(groups, scores, model, workload) if allocation == "sensitivity" else None
    gone = importance.removed(
        groups, scores, left, even=allocation == "layer", multiple=int(settings["multiple"] or 1), weight=weight
    )
    surgery.cut(model, gone, groups)
    if settings["weights"] == "fresh":
        recovery.begin_anew(model)
    removed = {
        "channels_before": sum(map(len, groups)),
        "channels_removed": sum(map(len, gone.values())),
        "layers": {
            group.name: [len(group), len(group) - len(gone.get(place, ()))] for place, group in enumerate(groups)
        },
    }
    return Changed(model, {**removed, **before.train(settings, model, teacher)})


def _scores(criterion: str, groups: Sequence[Group], model: torch.nn.Module, workload: Workload) -> list[np.ndarray]:
    """How much each unit matters, by group."""
    from autoopt.nets import importance

    if criterion == "random":
        return importance.chance(groups)
    weights = {name: value.detach() for name, value in model.state_dict().items()}
    if criterion == "taylor":
        from autoopt.nets.recovery import gradients

        slopes = gradients(model, workload, TRIED_TILES)
        return [importance.taylor(group, weights, slopes) for group in groups]
    found = []
    for group in groups:
        score = None
        if criterion == "norm_scale":
            score = importance.norm_scale(group, weights)
        elif criterion == "fpgm":
            score = importance.median_distance(group, weights)
        # Where there are no norms, size decides.
        found.append(importance.magnitude(group, weights, 2 if criterion == "l2" else 1) if score is None else score)
    return found


def _sensitivity(
    groups: Sequence[Group], scores: Sequence[np.ndarray], model: torch.nn.Module, workload: Workload
) -> list[float]:
    """What halving each group by itself does to the answers, over the mean of all groups."""
    from autoopt.nets import importance, surgery
    from autoopt.nets.recovery import Answers

    answers = Answers(model, workload, TRIED_TILES)
    harm = []
    for place, group in enumerate(groups):
        alone = {0: importance.removed([group], [scores[place]], 0.5, even=True, multiple=1).get(0, [])}
        fewer = copy.deepcopy(model)
        surgery.cut(fewer, alone, [group])
        harm.append(answers.distance(fewer))
    mean = float(np.mean(harm)) or 1.0
    return [max(item / mean, LEAST_WEIGHT) for item in harm]

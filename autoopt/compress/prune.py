"""Step `prune`: whole channels and attention heads are removed, and what is left is trained again.

The ratio is reached by a ladder of rungs: each begins with the network of the rung below, is cut a little further, and
is recovered by distillation from the whole network. A study makes each rung once, whatever it does with it later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autoopt.compress import training_settings
from autoopt.compress.base import Changed
from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter, numbers
from autoopt.errors import Unsupported
from autoopt.nets.importance import CRITERIA
from autoopt.workloads.contract import Workload

if TYPE_CHECKING:
    import torch

SWITCH = "ratio"
CHECKED: tuple[str, ...] = ()
VERSION = 5
DISTRIBUTIONS: tuple[str, ...] = ("torch", "monai")
PARAMETERS: Mapping[str, Parameter] = {
    "ratio": Parameter(
        "number",
        None,
        "the share of channels and attention heads that is removed; at 0.5 about a quarter of the weights stays; "
        "null: none",
        low=0.0,
        high=0.99,
        nullable=True,
    ),
    "rungs": Parameter(
        "numbers",
        "0.3,0.5,0.65,0.75,0.85,0.92,0.96",
        "ratios on the way, each cut from the one below and recovered; null: cut at once",
        low=0.01,
        high=0.99,
        nullable=True,
    ),
    "criterion": Parameter(
        "choice",
        "l1",
        "which units matter least: by size of weights (l1, l2), scale of norms, nearness to the geometric median "
        "(fpgm), change of the loss (taylor), or at random as a control",
        CRITERIA.names,
    ),
    "allocation": Parameter(
        "choice",
        "layer",
        "layer: the same share of every layer; global: the lowest scores of all; sensitivity: these, weighted by what "
        "half of each layer does to the answers",
        ("layer", "global", "sensitivity"),
    ),
    "multiple": Parameter(
        "choice", 1, "what is left of a layer is a multiple of this, as kernels like it", (1, 4, 8, 16, 32)
    ),
    "weights": Parameter(
        "choice",
        "kept",
        "fresh is the control of what kept weights are worth: cut at once, begun anew, trained for as long",
        ("kept", "fresh"),
    ),
    "steps": Parameter(
        "integer",
        120,
        "length of the training after each cut, in `unit`; 0: only batch norms are renewed",
        low=0,
        high=100_000,
    ),
    "steps_growth": Parameter(
        "number",
        0.0,
        "steps grow with (1 / (1 - ratio)) to this power: a smaller network needs more, and each costs less",
        low=0.0,
        high=2.0,
    ),
    **training_settings.PARAMETERS,
}


def canonical(settings: Mapping[str, Scalar], runtime: Mapping[str, Scalar], host: Host) -> dict[str, Scalar] | None:
    """`settings` with defaults filled in, and only the rungs below the ratio; None when nothing is removed."""
    known = training_settings.canonical(PARAMETERS, SWITCH, settings, runtime, host)
    if known is not None:
        below = [rung for rung in _rungs(known["rungs"]) if rung < float(known["ratio"] or 0)]
        known["rungs"] = ",".join(map(repr, below)) or None
        if not known["steps"]:
            del known["steps_growth"]
    return known


def _rungs(text: Scalar) -> list[float]:
    """The ratios in a text, each once, rising."""
    return sorted(set(numbers(str(text)))) if text is not None else []


def parts(settings: Mapping[str, Scalar]) -> list[dict[str, Scalar]]:
    """The rungs up to the ratio in order, each with its settings, cached; empty when the step is off."""
    if not settings:
        return []
    ratios = [*_rungs(settings.get("rungs")), float(settings["ratio"] or 0)]
    own = {key: value for key, value in settings.items() if key not in ("ratio", "rungs", "steps_growth")}
    growth = float(settings.get("steps_growth") or 0)
    steps = [round(int(settings["steps"] or 0) / (1 - ratio) ** growth) for ratio in ratios]
    if settings["weights"] == "fresh":
        return [{**own, "from": 0.0, "ratio": ratios[-1], "steps": sum(steps)}]
    return [
        {**own, "from": below, "ratio": ratio, "steps": count}
        for below, ratio, count in zip([0.0, *ratios], ratios, steps, strict=False)
    ]


def left(part: Mapping[str, Scalar]) -> float:
    """The share of the arithmetic that a rung leaves: both sides of a layer shrink."""
    return (1 - float(part["ratio"] or 0)) ** 2


def change(
    settings: Mapping[str, Scalar], model: torch.nn.Module, teacher: torch.nn.Module, workload: Workload
) -> Changed:
    """Cut `model` from one rung to the next and recover it.

    The report has the channels and units of each layer before and after, and what `Before.train` reports. Raises
    Unsupported where nothing can be removed or the network cannot be traced, Numeric when the result is not finite.
    """
    from autoopt.nets import importance, recovery, surgery

    before = training_settings.Before(model, workload)
    groups = surgery.removable(model, before.batch)
    if not groups:
        raise Unsupported(_nothing_to_remove(workload))
    left = (1 - float(settings["ratio"] or 0)) / (1 - float(settings["from"] or 0))
    allocation, criterion = str(settings["allocation"]), str(settings["criterion"])
    scores = importance.criterion(criterion)(groups, model, workload)
    weight = importance.layer_sensitivity(groups, scores, model, workload) if allocation == "sensitivity" else None
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


def refusal(settings: Mapping[str, Scalar], model: torch.nn.Module, workload: Workload) -> str:
    """Why nothing can be removed from the network, whatever the ratio; "" where something can."""
    import torch

    from autoopt.nets import surgery

    try:
        found = surgery.removable(model, torch.zeros(workload.pipeline.input_shape))
    except Unsupported as error:
        return error.message
    return "" if found else _nothing_to_remove(workload)


def _nothing_to_remove(workload: Workload) -> str:
    return f"prune must find channels to remove, {workload.name} has none but those of its answer"

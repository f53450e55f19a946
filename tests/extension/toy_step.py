"""A compression step: weights are rounded to a grid. It changes the network before it is exported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autoopt.compress.base import Changed
from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.workloads.contract import Workload

if TYPE_CHECKING:
    import torch

SWITCH = "grid"
VERSION = 1
DISTRIBUTIONS: tuple[str, ...] = ("torch",)
PARAMETERS: Mapping[str, Parameter] = {
    "grid": Parameter("number", None, "weights become multiples of this; null: off", low=1e-6, high=1.0, nullable=True)
}


def canonical(settings: Mapping[str, Scalar], runtime: Mapping[str, Scalar], host: Host) -> dict[str, Scalar] | None:
    """The one setting; None where it is off."""
    return {"grid": settings["grid"]} if settings.get("grid") else None


def parts(settings: Mapping[str, Scalar]) -> list[dict[str, Scalar]]:
    """One part."""
    return [dict(settings)] if settings else []


def left(part: Mapping[str, Scalar]) -> float:
    """All of the arithmetic."""
    return 1.0


def change(
    settings: Mapping[str, Scalar], model: torch.nn.Module, teacher: torch.nn.Module, workload: Workload
) -> Changed:
    """Round every weight."""
    import torch

    grid = float(settings["grid"] or 1.0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_((weight / grid).round() * grid)
    return Changed(model, {"rounded": sum(weight.numel() for weight in model.parameters())})

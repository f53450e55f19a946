"""Step `coarsen`: the network sees the image at a part of its resolution, and is trained again for that.

Its answer is enlarged inside the graph, so that all around it stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autoopt.compress import training
from autoopt.compress.base import Changed
from autoopt.errors import Unsupported
from autoopt.parameters import Parameter
from autoopt.records import Host, Scalar
from autoopt.workload import Workload

if TYPE_CHECKING:
    import torch

NAME = "coarsen"
SWITCH = "factor"
VERSION = 1
DISTRIBUTIONS: tuple[str, ...] = ("torch", "monai")
PARAMETERS: Mapping[str, Parameter] = {
    "factor": Parameter(
        "integer", None, "blocks of so many pixels along each axis become one; the answer is enlarged again",
        low=2, high=8, nullable=True,
    ),
    "steps": Parameter("integer", 120, "training steps afterwards; 0: batch norms only", low=0, high=100_000),
    **training.PARAMETERS,
}  # fmt: skip


def canonical(settings: Mapping[str, Scalar], runtime: Mapping[str, Scalar], host: Host) -> dict[str, Scalar] | None:
    """`settings` with defaults filled in; None where the resolution stays."""
    return training.canonical(PARAMETERS, SWITCH, settings, runtime, host)


def parts(settings: Mapping[str, Scalar]) -> list[dict[str, Scalar]]:
    """All in one."""
    return [dict(settings)] if settings else []


def left(part: Mapping[str, Scalar]) -> float:
    """A factor of 2 leaves a quarter in a plane; in a volume it is less."""
    return float(part["factor"] or 1) ** -2


def change(
    settings: Mapping[str, Scalar], model: torch.nn.Module, teacher: torch.nn.Module, workload: Workload
) -> Changed:
    """Let the network work at the smaller resolution and train it for that.

    Raises Unsupported where the network does not take tiles of that size, Numeric when the result is not finite.
    """
    from autoopt.nets import resolution
    from autoopt.nets.surgery import SIZE_ERRORS

    before, factor = training.Before(model, workload), int(settings["factor"] or 1)
    resolution.coarsen(model, factor, dense=workload.task == "segmentation")
    smaller = [size // factor for size in workload.pipeline.tile]
    try:
        shape = tuple(model(before.batch).shape)
    except SIZE_ERRORS as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise Unsupported(f"coarsen must find a network that takes tiles of {smaller}, it refuses: {reason}") from error
    if shape != before.shape:
        raise Unsupported(f"the coarse network must answer with shape {before.shape}, it gives {shape}")
    return Changed(model, before.train(settings, model, teacher))

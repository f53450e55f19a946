"""Step `coarsen`: the network sees the image at a part of its resolution, and is trained again for that.

Its answer is enlarged inside the graph, so that all around it stays as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autoopt.compress import training_settings
from autoopt.compress.base import Changed
from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.errors import Unsupported
from autoopt.workloads.contract import Workload

if TYPE_CHECKING:
    import torch

SWITCH = "factor"
VERSION = 4
DISTRIBUTIONS: tuple[str, ...] = ("torch", "monai")
PARAMETERS: Mapping[str, Parameter] = {
    "factor": Parameter(
        "integer",
        None,
        "blocks of so many pixels along each axis become one; the answer is enlarged again",
        low=2,
        high=8,
        nullable=True,
    ),
    "steps": Parameter("integer", 120, "training steps afterwards; 0: batch norms only", low=0, high=100_000),
    **training_settings.PARAMETERS,
}


def canonical(settings: Mapping[str, Scalar], runtime: Mapping[str, Scalar], host: Host) -> dict[str, Scalar] | None:
    """`settings` with defaults filled in; None where the resolution stays."""
    return training_settings.canonical(PARAMETERS, SWITCH, settings, runtime, host)


def parts(settings: Mapping[str, Scalar]) -> list[dict[str, Scalar]]:
    """All in one."""
    return [dict(settings)] if settings else []


def left(part: Mapping[str, Scalar]) -> float:
    """A factor of 2 leaves a quarter in a plane; in a volume it is less."""
    return float(part["factor"] or 1) ** -2


def change(
    settings: Mapping[str, Scalar], model: torch.nn.Module, teacher: torch.nn.Module, workload: Workload
) -> Changed:
    """Let the network work at the smaller resolution, its tables of positions with it, and train it for that.

    Raises Unsupported where the network does not take tiles of that size, Numeric when the result is not finite.
    """
    from autoopt.nets import resolution

    before, factor, tile = (
        training_settings.Before(model, workload),
        int(settings["factor"] or 1),
        workload.pipeline.tile,
    )
    resolution.coarsen(model, factor, workload.pipeline.output_shape[2:])
    tables = []
    if _refusal(model, before.batch) is not None:
        tables = resolution.shrink_tables(model, tile, factor)
    if (refusal := _refusal(model, before.batch)) is not None:
        reason = (str(refusal).strip().splitlines() or [type(refusal).__name__])[0]
        smaller = [size // factor for size in tile]
        raise Unsupported(
            f"coarsen must find a network that takes tiles of {smaller}, it refuses: {reason}"
        ) from refusal
    if (shape := tuple(model(before.batch).shape)) != before.shape:
        raise Unsupported(f"the coarse network must answer with shape {before.shape}, it gives {shape}")
    return Changed(model, {"tables": tables, **before.train(settings, model, teacher)})


def _refusal(model: torch.nn.Module, batch: torch.Tensor) -> Exception | None:
    """What the code of the network says of a batch of this size; None where it takes it."""
    from autoopt.nets.surgery import SIZE_ERRORS

    try:
        model(batch)
    except SIZE_ERRORS as error:
        return error
    return None

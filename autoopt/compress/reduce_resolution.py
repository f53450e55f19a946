"""Step `resolution`: the network sees the image at a reduced resolution, and is trained again for that.

Its answer is enlarged inside the graph, so that images, answers and scores keep their sizes.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
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
CHECKED = ("factor", "blocks")
VERSION = 5
DISTRIBUTIONS: tuple[str, ...] = ("torch", "monai")
PARAMETERS: Mapping[str, Parameter] = {
    "factor": Parameter(
        "integer",
        None,
        "blocks of so many pixels along each axis become one; the answer is enlarged again; null: off",
        low=2,
        high=8,
        nullable=True,
    ),
    "blocks": Parameter(
        "choice",
        "means",
        "what the network sees of a block: its mean, or each of its pixels as a channel; its answer comes back by "
        "interpolation, or for each pixel of the block",
        ("means", "channels"),
    ),
    "steps": Parameter(
        "integer",
        120,
        "length of the training afterwards, in `unit`; 0: only batch norms are renewed",
        low=0,
        high=100_000,
    ),
    **training_settings.PARAMETERS,
}


def canonical(settings: Mapping[str, Scalar], runtime: Mapping[str, Scalar], host: Host) -> dict[str, Scalar] | None:
    """`settings` with defaults filled in; None where the resolution stays."""
    known = training_settings.canonical(PARAMETERS, SWITCH, settings, runtime, host)
    if known is not None and known["blocks"] == PARAMETERS["blocks"].default:
        del known["blocks"]  # as before there was such a setting: one configuration, one name
    return known


def parts(settings: Mapping[str, Scalar]) -> list[dict[str, Scalar]]:
    """The settings as the one part; empty when the step is off."""
    return [dict(settings)] if settings else []


def left(part: Mapping[str, Scalar]) -> float:
    """The share of the arithmetic that is left in a plane, a quarter with a factor of 2; in a volume it is less."""
    return float(part["factor"] or 1) ** -2


def change(
    settings: Mapping[str, Scalar], model: torch.nn.Module, teacher: torch.nn.Module, workload: Workload
) -> Changed:
    """Let the network work at the reduced resolution, its tables of positions too, and train it for that.

    The report has the tables of positions that were reduced and what `Before.train` reports. Raises Unsupported where
    the network does not take tiles of that size, Numeric when the result is not finite.
    """
    before = training_settings.Before(model, workload)
    tables = _reduce(settings, model, before.batch, before.shape, workload)
    return Changed(model, {"tables": tables, **before.train(settings, model, teacher)})


def refusal(settings: Mapping[str, Scalar], model: torch.nn.Module, workload: Workload) -> str:
    """Why the network cannot work at this resolution; "" where it can."""
    import torch

    batch = torch.zeros(workload.pipeline.input_shape)
    try:
        _reduce(settings, copy.deepcopy(model), batch, workload.pipeline.output_shape, workload)
    except Unsupported as error:
        return error.message
    return ""


def _reduce(
    settings: Mapping[str, Scalar],
    model: torch.nn.Module,
    batch: torch.Tensor,
    shape: Sequence[int],
    workload: Workload,
) -> list[str]:
    """Let the network work at the reduced resolution, in place; the tables of positions that were reduced.

    `shape` is what it answers to `batch`. Raises Unsupported.
    """
    from autoopt.nets import block_channels, resolution

    factor, tile = int(settings["factor"] or 1), workload.pipeline.tile
    answered = workload.pipeline.output_shape[2:]
    if settings.get("blocks") == resolution.CHANNELS:
        block_channels.widen(model, block_channels.ends_of(model, batch, output=bool(answered)), factor)
        resolution.take_blocks(model, factor, output=bool(answered))
    else:
        resolution.reduce_resolution(model, factor, answered)
    tables = []
    if _error(model, batch) is not None:
        tables = resolution.shrink_tables(model, tile, factor)
    if (error := _error(model, batch)) is not None:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        smaller = [size // factor for size in tile]
        raise Unsupported(
            f"resolution must find a network that takes tiles of {smaller}, it refuses: {reason}"
        ) from error
    if (answer := tuple(model(batch).shape)) != tuple(shape):
        raise Unsupported(
            f"the network at a reduced resolution must answer with shape {tuple(shape)}, it gives {answer}"
        )
    return tables


def _error(model: torch.nn.Module, batch: torch.Tensor) -> Exception | None:
    """The error that the network raises for a batch of this size; None where it takes it."""
    from autoopt.nets.surgery import SIZE_ERRORS

    try:
        model(batch)
    except SIZE_ERRORS as error:
        return error
    return None

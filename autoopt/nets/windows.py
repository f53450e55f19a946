"""Windows of tiles: what the recovery of a network that segments pictures learns from.

Neighbouring pixels teach nearly the same, so a step on a window of a third of the pixels is worth about as much as one
on the whole tile, and costs less (docs/benchmarks.md, "What a recovery needs"). A network at a reduced resolution lost
more so, and learns from whole tiles. So do networks of volumes: where an organ lies is a part of what they look at.
What was learnt is judged on whole tiles in any case.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from autoopt.nets import resolution
from autoopt.nets.surgery import SIZE_ERRORS
from autoopt.workloads.contract import Workload

if TYPE_CHECKING:
    import torch

MULTIPLE = 64
"""The sizes of windows are multiples of this: networks halve them up to six times."""


def window_of(models: Sequence[torch.nn.Module], workload: Workload) -> tuple[int, ...]:
    """The sizes of the windows that all `models` (in evaluation mode) learn from.

    That is the whole tile of volumes and of what is classified, where one of the models is at a reduced resolution, and
    where one refuses smaller tiles.
    """
    window, tile = sizes_of(workload), tuple(workload.recipe.tile or workload.pipeline.tile)
    reduced = any(resolution.factor_of(model) > 1 for model in models)
    if window == tile or reduced or not all(_takes(model, window, workload) for model in models):
        return tile
    return window


def sizes_of(workload: Workload) -> tuple[int, ...]:
    """The sizes of the windows of a workload, where its networks take them; those of its tile where it has none."""
    tile = tuple(workload.recipe.tile or workload.pipeline.tile)
    if workload.task != "segmentation" or len(tile) != 2:
        return tile
    return tuple(min(size, -(-size // (2 * MULTIPLE)) * MULTIPLE) for size in tile)


def share_of(workload: Workload) -> float:
    """The share of the pixels of a tile that are in a window."""
    tile = workload.recipe.tile or workload.pipeline.tile
    return math.prod(sizes_of(workload)) / math.prod(tile)


def _takes(model: torch.nn.Module, window: Sequence[int], workload: Workload) -> bool:
    """Whether the model answers to a window with the sizes of the window."""
    import torch

    batch = torch.zeros(1, workload.pipeline.input_shape[1], *window)
    try:
        with torch.no_grad():
            return tuple(model(batch).shape) == (1, workload.pipeline.output_shape[1], *window)
    except SIZE_ERRORS:
        return False

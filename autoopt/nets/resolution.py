"""A network that computes at a reduced resolution: its input is taken in blocks, its answer enlarged again."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from autoopt.inference.formats.names import SHARES
from autoopt.nets.block_channels import gathered, spread
from autoopt.nets.surgery import set_weight

if TYPE_CHECKING:
    import torch

MEANS, CHANNELS = "means", "channels"
"""What a block of pixels becomes: its mean, or a channel for each of them."""
_FACTOR, _BLOCKS = "resolution_factor", "resolution_blocks"


def reduce_resolution(model: torch.nn.Module, factor: int, tile: Sequence[int]) -> None:
    """Let `model` compute on the means of blocks of `factor` pixels along each axis of its input (n, channels, *sizes).

    Its answer (n, classes, *smaller) is enlarged to the sizes of the input by linear interpolation, fastest where these
    are `tile`. With an empty `tile` the answer is no image and is left as it is. The module is changed in place: it
    gets another class, as in `torch.nn.utils.parametrize`, and its layers keep their names.
    """
    whole = type(model)

    def forward(self: Any, batch: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = whole.forward(self, _means(batch, factor))
        if not tile:
            return answer
        if [*answer.shape[2:], *batch.shape[2:]] != [*(size // factor for size in tile), *tile]:
            return interpolated(answer, batch.shape[2:])
        return enlarged(answer, [getattr(self, SHARES.format(axis)) for axis in range(len(tile))])

    model.__class__ = type(f"Reduced{whole.__name__}", (whole,), {"forward": forward, _FACTOR: factor})
    for axis, along in enumerate(shares([size // factor for size in tile], tile)):
        # Made anew whenever a resolution is reduced: nothing to store.
        model.register_buffer(SHARES.format(axis), along, persistent=False)


def interpolated(image: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """Enlarge images (n, channels, *smaller) to `sizes` by linear interpolation between the centres of pixels."""
    import torch.nn.functional as functions

    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(sizes)]
    return functions.interpolate(image, list(sizes), mode=mode, align_corners=False)


def shares(small: Sequence[int], large: Sequence[int]) -> list[torch.Tensor]:
    """The matrices with which `enlarged` multiplies along each axis to get from `small` sizes to `large` ones.

    They hold how much each large pixel takes of each small one by linear interpolation: (large, small), for the last
    axis (small, large).
    """
    import torch

    along = [interpolated(torch.eye(few)[None], [many])[0] for few, many in zip(small, large, strict=True)]
    return [*(item.T for item in along[:-1]), *along[-1:]]


def enlarged(image: torch.Tensor, along: Sequence[torch.Tensor]) -> torch.Tensor:
    """The same as `interpolated`, as a matrix product with the `shares` along each axis.

    OpenVINO takes up to four times as long for its own interpolation (docs/benchmarks.md).
    """
    *others, last = along
    for axis, rows_of in enumerate(others, start=2):
        after = image.shape[axis + 1 :]
        rows = image if len(after) == 1 else image.flatten(axis + 1)
        image = (rows_of @ rows).reshape(*image.shape[:axis], len(rows_of), *after)
    return image @ last


def take_blocks(model: torch.nn.Module, factor: int, *, output: bool) -> None:
    """Let `model`, whose ends were widened (block_channels.py), take blocks of pixels as channels.

    With `output` it answers so too: with as many classes as ever, at the sizes of its input (n, channels, *sizes). The
    module is changed in place and gets another class, as in `reduce_resolution`.
    """
    whole = type(model)

    def forward(self: Any, batch: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = whole.forward(self, gathered(batch, factor))
        return spread(answer, factor) if output else answer

    name = f"InBlocks{whole.__name__}"
    model.__class__ = type(name, (whole,), {"forward": forward, _FACTOR: factor, _BLOCKS: CHANNELS})


def blocks_of(model: torch.nn.Module) -> str:
    """What blocks of pixels become in a network at a reduced resolution: `MEANS` or `CHANNELS`."""
    return str(getattr(type(model), _BLOCKS, MEANS))


def factor_of(model: torch.nn.Module) -> int:
    """The factor by which the resolution of a network was reduced, 1 where it was not."""
    return int(getattr(type(model), _FACTOR, 1))


def shrink_tables(model: torch.nn.Module, tile: Sequence[int], factor: int) -> list[str]:
    """Average the tables of positions of a network in blocks of `factor` tokens along each axis; returns their names.

    A table of positions is a parameter (1, tokens, width) with a token for each block of `tile`, as vision transformers
    learn it.
    """
    shrunk = []
    for name, table in list(model.named_parameters()):
        grid = _grid(table, tile)
        if grid is None or any(size % factor for size in grid):
            continue
        means = _means(table.detach().reshape(1, *grid, -1).movedim(-1, 1), factor)
        path, _, attribute = name.rpartition(".")
        set_weight(model.get_submodule(path), attribute, means.flatten(2).movedim(1, 2))
        shrunk.append(name)
    return shrunk


def _grid(table: torch.Tensor, tile: Sequence[int]) -> tuple[int, ...] | None:
    """How many tokens a table has along each axis of the tile; None where it is no table of positions."""
    if table.ndim != 3 or len(table) != 1:
        return None
    for stride in range(1, min(tile) + 1):
        grid = tuple(size // stride for size in tile)
        if math.prod(grid) == table.shape[1] and not any(size % stride for size in tile):
            return grid
    return None


def _means(batch: torch.Tensor, factor: int) -> torch.Tensor:
    """The means of blocks of `factor` along each axis of (n, channels, *sizes)."""
    import torch.nn.functional as functions

    pool = {1: functions.avg_pool1d, 2: functions.avg_pool2d, 3: functions.avg_pool3d}[batch.ndim - 2]
    return pool(batch, factor)

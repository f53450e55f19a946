"""A network that sees its input at a part of the resolution, and answers at the whole one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_FACTOR = "coarse_factor"


def coarsen(model: torch.nn.Module, factor: int, *, dense: bool) -> None:
    """Let `model`, which takes (n, channels, *sizes), work on the means of blocks of `factor` pixels along each axis.

    With `dense` its answer (n, classes, *smaller) is enlarged to the sizes of the input, by linear interpolation. In
    place: the kind of the module changes, as in `torch.nn.utils.parametrize`, and its layers keep their names.
    """
    whole = type(model)

    def forward(self: Any, batch: torch.Tensor) -> torch.Tensor:
        import torch.nn.functional as functions

        axes = batch.ndim - 2
        pool = {1: functions.avg_pool1d, 2: functions.avg_pool2d, 3: functions.avg_pool3d}[axes]
        answer: torch.Tensor = whole.forward(self, pool(batch, factor))
        if not dense:
            return answer
        mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[axes]
        return functions.interpolate(answer, size=batch.shape[2:], mode=mode, align_corners=False)

    model.__class__ = type(f"Coarse{whole.__name__}", (whole,), {"forward": forward, _FACTOR: factor})


def factor_of(model: torch.nn.Module) -> int:
    """The factor of a coarse network, 1 of any other."""
    return int(getattr(type(model), _FACTOR, 1))

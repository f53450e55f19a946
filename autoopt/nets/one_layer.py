"""The least network for a task: one layer, the floor under everything that is made smaller.

Of pictures and volumes that are segmented it is one convolution of 3 pixels along each axis, of those that are
classified a linear layer over the means of a grid of patches. Whatever such a network answers as well as a searched one
needed no search (Zhang et al. 2024, FocusLiteNN, had the thought).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoopt.workloads.contract import Workload

if TYPE_CHECKING:
    import torch

NAME = "one-layer"
PATCHES = 8
"""Along each axis: so many means of patches a classifier sees of each channel, fewer of a smaller image."""
SEED = 0
_IS = "is_one_layer"


def build(workload: Workload) -> torch.nn.Module:
    """The one layer for the in- and output of `workload`, with the same random weights each time.

    It takes (n, channels, *sizes) and gives (n, classes, *sizes) or (n, classes).
    """
    import torch

    pipeline = workload.pipeline
    channels, classes, tile = pipeline.input_shape[1], pipeline.output_shape[1], pipeline.tile
    axes = len(tile)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        if len(pipeline.output_shape) > 2:
            layers = [getattr(torch.nn, f"Conv{axes}d")(channels, classes, 3, padding=1)]
        else:
            patch = [max(1, size // PATCHES) for size in tile]
            seen = channels
            for size, along in zip(tile, patch, strict=True):
                seen *= (size - along) // along + 1
            pool = getattr(torch.nn, f"AvgPool{axes}d")(patch)
            layers = [pool, torch.nn.Flatten(), torch.nn.Linear(seen, classes)]
        model = torch.nn.Sequential(*layers)
    model.register_buffer(_IS, torch.ones(()), persistent=False)
    return model


def is_one_layer(model: torch.nn.Module) -> bool:
    """Whether `build` made the model."""
    return any(name == _IS for name, _ in model.named_buffers(recurse=False))

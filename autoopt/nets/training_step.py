"""What one training step is made of: the loss, the learning rate, the layout of memory, the precision."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from autoopt.workloads.contract import IGNORED

if TYPE_CHECKING:
    import torch

WARM_UP_SHARE = 0.1
FIRST_RATE = 0.2
"""The learning rate at the start, as a share of the highest."""


def rate_at(done: float) -> float:
    """The learning rate, as a share of the highest, when the fraction `done` of all work is done.

    One cycle (Smith and Topin 2018): a short linear rise, then half a cosine to zero. It runs over work, not
    steps: the full resolution is most of the work but few of the steps, and must still learn, not only settle.
    """
    if done < WARM_UP_SHARE:
        return FIRST_RATE + (1 - FIRST_RATE) * done / WARM_UP_SHARE
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - WARM_UP_SHARE) / (1 - WARM_UP_SHARE))))


def loss_of(logits: torch.Tensor, references: torch.Tensor, multilabel: bool) -> torch.Tensor:
    """Cross-entropy, plus soft Dice of all labels over the batch where the reference is a label map.

    With several labels at once, whose references have a last axis of 0 / 1, of each label. `IGNORED` counts nowhere.
    """
    import torch

    functions = torch.nn.functional
    known = references != IGNORED
    if multilabel:
        truth = (references == 1).movedim(-1, 1).float()
        known = known.movedim(-1, 1).float()
        losses = functions.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        loss, probabilities = (losses * known).sum() / known.sum().clamp(min=1), logits.sigmoid()
    else:
        loss = functions.cross_entropy(logits, references, ignore_index=IGNORED, reduction="sum")
        loss = loss / known.sum().clamp(min=1)
        probabilities, labels = logits.softmax(dim=1), torch.where(known, references, 0).unsqueeze(1)
        truth, known = torch.zeros_like(probabilities).scatter_(1, labels, 1.0), known.unsqueeze(1).float()
    if logits.ndim == 2:
        return loss
    # Over the batch, not each image: a label that is in few of them is learnt from those, not feared in the others.
    axes = (0, *range(2, logits.ndim))
    overlap, size = (probabilities * truth * known).sum(axes), ((probabilities + truth) * known).sum(axes)
    # One pixel of smoothing: a label that is in neither is a hit, not a division by zero.
    return loss + 1 - ((2 * overlap + 1) / (size + 1)).mean()


def laid_out(value: Any) -> Any:
    """A module or a batch with its channels last, as CPUs convolve fastest."""
    import torch

    if isinstance(value, torch.nn.Module):
        volumes = any(isinstance(item, torch.nn.Conv3d) for item in value.modules())
        layout = torch.channels_last_3d if volumes else torch.channels_last
        return value.to(memory_format=layout)  # type: ignore[call-overload]
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    return value.contiguous(memory_format=layouts[value.ndim]) if value.ndim in layouts else value

"""What one training step is made of: the batch as tensors, the loss, the learning rate, layout of memory, precision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.workloads.contract import IGNORED

if TYPE_CHECKING:
    import torch

WARM_UP_SHARE = 0.1
"""The share of all work in which the learning rate rises."""
FIRST_RATE = 0.2
"""The learning rate at the start, as a share of the highest."""
CALLS_PER_EXAMPLE = 3.0
"""Cost of training on one example, in calls of the network: one forward, and two for the backward pass."""
TEMPERATURE = 2.0
"""What logits are divided by before a student is compared with its teacher (Hinton et al. 2015)."""


def rate_at(done: float) -> float:
    """The learning rate, as a share of the highest, when the fraction `done` of all work is done.

    One cycle (Smith and Topin 2018): a short linear rise, then half a cosine to zero. It runs over work, not
    steps: the full resolution is most of the work but few of the steps, and must still learn, not only settle.
    """
    if done < WARM_UP_SHARE:
        return FIRST_RATE + (1 - FIRST_RATE) * done / WARM_UP_SHARE
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - WARM_UP_SHARE) / (1 - WARM_UP_SHARE))))


def as_tensors(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[torch.Tensor, torch.Tensor]:
    """What `Examples.draw` gave, as one batch.

    Images are float32 (n, channels, *tile) with channels last in memory, references int64, of a regression float32.
    """
    import torch

    images = torch.from_numpy(np.concatenate([image for image, _ in pairs]))
    stacked = np.stack([reference for _, reference in pairs])
    references = torch.from_numpy(stacked.astype(np.float32 if stacked.dtype.kind == "f" else np.int64))
    return channels_last(images), references


def loss_of(logits: torch.Tensor, references: torch.Tensor, activation: str) -> torch.Tensor:
    """Cross-entropy, plus one minus soft Dice over the batch where the reference is a label map; a scalar.

    `logits` are (n, classes, *tile) or (n, classes), `references` integers without the axis of classes. With the
    `activation` sigmoid, references have a last axis of labels that are 0 or 1, and both terms are means over labels.
    Pixels of value `IGNORED` do not count. With identity both are numbers (n, classes) and the loss is their mean
    absolute difference.
    """
    import torch

    functions = torch.nn.functional
    if activation == "identity":
        return functions.l1_loss(logits, references.to(logits.dtype))
    known = references != IGNORED
    if activation == "sigmoid":
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


def distance(logits: torch.Tensor, taught: torch.Tensor, activation: str) -> torch.Tensor:
    """How far logits are from those of the teacher, 0 where they are the same; a scalar.

    Both are (n, classes, *tile) or (n, classes). Kullback-Leibler at `TEMPERATURE`, mean over pixels and images (Hinton
    et al. 2015). Of label maps one minus the overlap of the probabilities comes to it, mean over classes, so that a
    small label counts: Dice with squares below (Milletari et al. 2016), which is 1 for equal probabilities only. With
    the `activation` identity the answers are numbers, and it is their mean absolute difference.
    """
    import torch

    functions = torch.nn.functional
    if activation == "identity":
        return functions.l1_loss(logits, taught.to(logits.dtype))
    if activation == "sigmoid":
        probabilities = torch.sigmoid(taught / TEMPERATURE)
        cross = functions.binary_cross_entropy_with_logits(logits / TEMPERATURE, probabilities)
        own = functions.binary_cross_entropy(probabilities, probabilities)
        far, mine, theirs = (cross - own) * TEMPERATURE**2, logits.sigmoid(), taught.sigmoid()
    else:
        student = functions.log_softmax(logits / TEMPERATURE, dim=1)
        teacher = functions.log_softmax(taught / TEMPERATURE, dim=1)
        apart = functions.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=1)
        far, mine, theirs = apart.mean() * TEMPERATURE**2, logits.softmax(dim=1), taught.softmax(dim=1)
    if logits.ndim == 2:
        return far
    axes = (0, *range(2, logits.ndim))
    overlap, size = (mine * theirs).sum(axes), (mine**2 + theirs**2).sum(axes)
    return far + 1 - ((2 * overlap + 1) / (size + 1)).mean()


def channels_last(value: Any) -> Any:
    """A module or a batch of images with channels last in memory, which CPUs convolve fastest."""
    import torch

    if isinstance(value, torch.nn.Module):
        volumes = any(isinstance(item, torch.nn.Conv3d) for item in value.modules())
        layout = torch.channels_last_3d if volumes else torch.channels_last
        return value.to(memory_format=layout)  # type: ignore[call-overload]
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    return value.contiguous(memory_format=layouts[value.ndim]) if value.ndim in layouts else value

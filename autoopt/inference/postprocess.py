"""From logits to an answer: probabilities, label maps, holes, stray components. scipy only for the latter two."""

from __future__ import annotations

import numpy as np


def probabilities(logits: np.ndarray, activation: str) -> np.ndarray:
    """Probabilities (classes,) of logits (classes,): softmax, or sigmoid of each."""
    if activation == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-logits)))
    shifted = np.exp(logits - logits.max())
    return np.asarray(shifted / shifted.sum())


def decide(
    logits: np.ndarray, activation: str, threshold: float, *, fill: bool = False, largest: bool = False
) -> np.ndarray:
    """A uint8 label map (*spatial) of logits (classes, *spatial); with sigmoid 0 / 1 per label, (*spatial, classes).

    Per label but the background (with sigmoid every label), `largest` keeps the largest connected component
    and `fill` fills holes with it.
    """
    if activation == "sigmoid":
        chosen = (logits > np.float32(np.log(threshold / (1 - threshold)))).astype(np.uint8)
        layers = [clean(layer, 1, fill=fill, largest=largest) for layer in chosen]
        return np.ascontiguousarray(np.stack(layers, axis=-1))
    return cleaned(largest_of(logits), len(logits), fill=fill, largest=largest)


def largest_of(logits: np.ndarray) -> np.ndarray:
    """The uint8 index (*spatial) of the largest of finite logits (classes, *spatial), of equals the first."""
    # numpy's argmax over the first axis takes more than ten times as long.
    labels = np.zeros(logits.shape[1:], np.uint8)
    best = logits[0]
    for label, candidate in enumerate(logits[1:], start=1):
        np.maximum(labels, (candidate > best).view(np.uint8) * np.uint8(label), out=labels)
        best = np.maximum(best, candidate)
    return labels


def cleaned(labels: np.ndarray, classes: int, *, fill: bool, largest: bool) -> np.ndarray:
    """The label map with each of its `classes` but the background cleaned; see `clean`."""
    for label in range(1, classes):
        labels = clean(labels, label, fill=fill, largest=largest)
    return labels


def clean(labels: np.ndarray, label: int, *, fill: bool, largest: bool) -> np.ndarray:
    """The label map with only the largest component of `label`, its holes filled where they are background."""
    if not (fill or largest):
        return labels
    from scipy import ndimage

    mask: np.ndarray = labels == label
    if largest and mask.any():
        parts, _ = ndimage.label(mask)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0  # of what is not the label
        kept = parts == sizes.argmax()
        labels = np.where(mask & ~kept, 0, labels)
        mask = kept
    if fill:
        labels = np.where(ndimage.binary_fill_holes(mask) & (labels == 0), label, labels)
    return np.asarray(labels, np.uint8)

"""From the network's logits to an answer: probabilities, label maps, cleaned label maps. Only cleaning needs scipy."""

from __future__ import annotations

import numpy as np

LEAST_DOUBT = 2.0**-24
"""The smallest distance from 1 of a probability in float32."""


def probabilities(logits: np.ndarray, activation: str) -> np.ndarray:
    """Probabilities (classes,) of logits (classes,): softmax, or the sigmoid of each."""
    if activation == "sigmoid":
        return np.asarray(1 / (1 + np.exp(-logits)))
    shifted = np.exp(logits - logits.max())
    return np.asarray(shifted / shifted.sum())


def logits_of(values: np.ndarray, activation: str) -> np.ndarray:
    """Logits that `probabilities` turns into these probabilities (classes, ...), whatever their last axes.

    Zero and one are taken for the nearest number that float32 tells apart from them: their logits are infinite.
    """
    if activation == "sigmoid":
        inside = np.clip(values, LEAST_DOUBT, 1 - LEAST_DOUBT)
        return np.asarray(np.log(inside) - np.log1p(-inside))
    return np.asarray(np.log(np.maximum(values, np.finfo(np.float32).tiny)))


def decide(
    logits: np.ndarray, activation: str, threshold: float, *, fill: bool = False, largest: bool = False
) -> np.ndarray:
    """The label map of logits (classes, *spatial), cleaned; see `clean_label`.

    With softmax uint8 (*spatial): the class with the largest logit. With sigmoid uint8 0 / 1 (*spatial, classes): every
    class whose probability exceeds `threshold`; there is no background then, so every label is cleaned.
    """
    if activation == "sigmoid":
        chosen = (logits > np.float32(np.log(threshold / (1 - threshold)))).astype(np.uint8)
        layers = [clean_label(layer, 1, fill=fill, largest=largest) for layer in chosen]
        return np.ascontiguousarray(np.stack(layers, axis=-1))
    return clean_map(largest_of(logits), len(logits), fill=fill, largest=largest)


def largest_of(logits: np.ndarray) -> np.ndarray:
    """The uint8 index (*spatial) of the largest of finite logits (classes, *spatial); of equal ones the first index."""
    # numpy's argmax over the first axis takes more than ten times as long.
    labels = np.zeros(logits.shape[1:], np.uint8)
    best = logits[0]
    for label, candidate in enumerate(logits[1:], start=1):
        np.maximum(labels, (candidate > best).view(np.uint8) * np.uint8(label), out=labels)
        best = np.maximum(best, candidate)
    return labels


def clean_map(labels: np.ndarray, classes: int, *, fill: bool, largest: bool) -> np.ndarray:
    """The label map with each of its `classes` but the background (0) cleaned; see `clean_label`."""
    for label in range(1, classes):
        labels = clean_label(labels, label, fill=fill, largest=largest)
    return labels


def clean_label(labels: np.ndarray, label: int, *, fill: bool, largest: bool) -> np.ndarray:
    """The label map with one label cleaned: `largest` keeps its largest connected component, `fill` fills its holes.

    The other components become background; of a hole only its background is filled, so other labels in it stay.
    """
    if not (fill or largest):
        return labels
    from scipy import ndimage

    mask: np.ndarray = labels == label
    if largest and mask.any():
        parts, _ = ndimage.label(mask)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0  # the voxels that have another label
        kept = parts == sizes.argmax()
        labels = np.where(mask & ~kept, 0, labels)
        mask = kept
    if fill:
        labels = np.where(ndimage.binary_fill_holes(mask) & (labels == 0), label, labels)
    return np.asarray(labels, np.uint8)

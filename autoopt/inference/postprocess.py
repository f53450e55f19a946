"""From the network's logits to an answer: probabilities, label maps, cleaned label maps. Only cleaning needs scipy."""

from __future__ import annotations

import numpy as np

from autoopt.inference.pipeline_settings import PipelineSettings

LEAST_DOUBT = 2.0**-24
"""The smallest distance from 1 of a probability in float32."""


def probabilities(logits: np.ndarray, activation: str) -> np.ndarray:
    """Probabilities (classes, ...) of logits (classes, ...): softmax, or the sigmoid of each."""
    if activation == "sigmoid":
        with np.errstate(over="ignore"):  # of a logit far below zero: its probability is zero
            return np.asarray(1 / (1 + np.exp(-logits)))
    shifted = np.exp(logits - logits.max(axis=0))
    return np.asarray(shifted / shifted.sum(axis=0))


def logits_of(values: np.ndarray, activation: str) -> np.ndarray:
    """Logits that `probabilities` turns into these probabilities (classes, ...), whatever their last axes.

    Zero and one are taken for the nearest number that float32 tells apart from them: their logits are infinite.
    """
    if activation == "sigmoid":
        inside = np.clip(values, LEAST_DOUBT, 1 - LEAST_DOUBT)
        return np.asarray(np.log(inside) - np.log1p(-inside))
    return np.asarray(np.log(np.maximum(values, np.finfo(np.float32).tiny)))


def decide(values: np.ndarray, activation: str, threshold: float, *, sure: bool = False) -> np.ndarray:
    """The label map of logits (classes, *spatial), or with `sure` of probabilities.

    With softmax uint8 (*spatial): the class with the largest one. With sigmoid uint8 0 / 1 (*spatial, classes): every
    class whose probability reaches `threshold`.
    """
    if activation == "sigmoid":
        least = np.float32(threshold if sure else np.log(threshold / (1 - threshold)))
        return np.ascontiguousarray(np.moveaxis((values >= least).astype(np.uint8), 0, -1))
    return largest_of(values)


def painted(values: np.ndarray, paint: tuple[int, ...], threshold: float, *, sure: bool = False) -> np.ndarray:
    """The uint8 label map (*spatial) of logits (classes, *spatial), or with `sure` of probabilities.

    Wherever class i is more likely than `threshold`, label paint[i] is painted, a later class over an earlier one; the
    rest is 0. How nnU-Net turns regions into labels.
    """
    least = np.float32(threshold if sure else np.log(threshold / (1 - threshold)))
    labels = np.zeros(values.shape[1:], np.uint8)
    for label, each in zip(paint, values, strict=True):
        labels[each > least] = label
    return labels


def layers_of(labels: np.ndarray, settings: PipelineSettings) -> np.ndarray:
    """Where each class is in a painted label map (*spatial), uint8 0 / 1 (*spatial, classes)."""
    regions = settings.regions or tuple((label,) for label in settings.paint)
    return np.stack([np.isin(labels, region) for region in regions], axis=-1).astype(np.uint8)


def cleaned(labels: np.ndarray, settings: PipelineSettings) -> np.ndarray:
    """What `decide` gave, every label but the background cleaned as the settings say; see `clean_label`.

    With sigmoid there is no background, so every label is cleaned.
    """
    fill, largest, by = settings.fill_holes, settings.largest_component, settings.connectivity
    if settings.multilabel:
        layers = [clean_label(layer, 1, fill=fill, largest=largest, by=by) for layer in np.moveaxis(labels, -1, 0)]
        return np.ascontiguousarray(np.stack(layers, axis=-1))
    return clean_map(labels, settings.labels, fill=fill, largest=largest, by=by)


def largest_of(logits: np.ndarray) -> np.ndarray:
    """The uint8 index (*spatial) of the largest of finite logits (classes, *spatial); of equal ones the first index."""
    # numpy's argmax over the first axis takes more than ten times as long.
    labels = np.zeros(logits.shape[1:], np.uint8)
    best = logits[0]
    for label, candidate in enumerate(logits[1:], start=1):
        np.maximum(labels, (candidate > best).view(np.uint8) * np.uint8(label), out=labels)
        best = np.maximum(best, candidate)
    return labels


def clean_map(labels: np.ndarray, classes: int, *, fill: bool, largest: bool, by: int = 1) -> np.ndarray:
    """The label map with each of its `classes` but the background (0) cleaned; see `clean_label`."""
    for label in range(1, classes):
        labels = clean_label(labels, label, fill=fill, largest=largest, by=by)
    return labels


def clean_label(labels: np.ndarray, label: int, *, fill: bool, largest: bool, by: int = 1) -> np.ndarray:
    """The label map with one label cleaned: `largest` keeps its largest connected component, `fill` fills its holes.

    The other components become background; of a hole only its background is filled, so other labels in it stay. `by`
    says what is connected, also for the outside of holes: 1 by faces, 2 by edges too, 3 by corners too.
    """
    if not (fill or largest):
        return labels
    from scipy import ndimage

    mask: np.ndarray = labels == label
    touching = ndimage.generate_binary_structure(labels.ndim, by)
    if largest and mask.any():
        parts, _ = ndimage.label(mask, touching)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0  # the voxels that have another label
        kept = parts == sizes.argmax()
        labels = np.where(mask & ~kept, 0, labels)
        mask = kept
    if fill:
        labels = np.where(ndimage.binary_fill_holes(mask, touching) & (labels == 0), label, labels)
    return np.asarray(labels, np.uint8)

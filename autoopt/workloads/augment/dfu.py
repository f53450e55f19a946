"""Augmentation of photos of skin: another view, another lamp, a part of it covered."""

from __future__ import annotations

import math

import numpy as np

from autoopt.workloads.contract import Sample
from autoopt.workloads.identity import plain_name


@plain_name("dfu-1")
def augment(sample: Sample, random: np.random.Generator) -> Sample:
    """Another photo: mirrored, turned, zoomed and moved, under another lamp, sometimes partly covered."""
    image = sample.image
    turns, mirrored = int(random.integers(4)), bool(random.integers(2))
    image = np.rot90(image, turns)
    image = image[:, ::-1] if mirrored else image
    image = _relit(_zoomed(image, random), random)
    if random.random() < 0.3:
        image = _hidden(image, random)
    return Sample(image, sample.reference)


def _zoomed(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Turned by any small angle, zoomed and moved; what is beyond the edge is mirrored."""
    from scipy.ndimage import affine_transform

    angle, scale = random.uniform(-0.5, 0.5), math.exp(random.uniform(-0.25, 0.25))
    cosine, sine = math.cos(angle) / scale, math.sin(angle) / scale
    matrix = np.array([[cosine, -sine], [sine, cosine]])
    sizes = np.array(image.shape[:2])
    centre = (sizes - 1) / 2
    offset = centre + sizes * random.uniform(-0.08, 0.08, 2) - matrix @ centre
    channels = [
        affine_transform(image[..., index], matrix, offset, order=1, mode="mirror", output=np.float32)
        for index in range(image.shape[-1])
    ]
    return np.stack(channels, axis=-1)


def _relit(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Another brightness, contrast, saturation and colour of the light."""
    grey = image.mean(axis=-1, keepdims=True)
    image = grey + (image - grey) * np.float32(random.uniform(0.7, 1.3))
    middle = np.float32(image.mean())
    image = middle + (image - middle) * np.float32(random.uniform(0.75, 1.25))
    light = random.uniform(0.9, 1.1, 3).astype(np.float32) * np.float32(random.uniform(0.8, 1.2))
    return np.asarray(np.clip(image * light, 0, 255), np.float32)


def _hidden(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """With a grey rectangle over up to a ninth of its area (Cutout, DeVries and Taylor 2017)."""
    image = image.copy()
    sizes = [int(random.integers(size // 8, size // 3 + 1)) for size in image.shape[:2]]
    top, left = (int(random.integers(have - size + 1)) for have, size in zip(image.shape[:2], sizes, strict=True))
    image[top : top + sizes[0], left : left + sizes[1]] = image.mean()
    return image

"""Augmentation of short-axis slices of the heart: another position, another patient's size, another scanner."""

from __future__ import annotations

import math

import numpy as np

from autoopt.workloads.contract import IGNORED, Sample
from autoopt.workloads.identity import plain_name


@plain_name("cardiac-1")
def augment(sample: Sample, random: np.random.Generator) -> Sample:
    """Another slice: turned, scaled, sheared, shifted and mirrored, with another contrast, coil and noise.

    The image is float32 (height, width, 1) in 0..1, the reference (height, width), `IGNORED` beyond the edge. Shifts
    and smooth fields are shares of the size, so that a slice of reduced resolution is moved in the same way.
    """
    image, reference = _moved(sample.image[..., 0], sample.reference, random)
    return Sample(_exposed(image, random)[..., np.newaxis], reference)


def _moved(image: np.ndarray, reference: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Any affine map that could be another patient on another scanner; most of it about the centre."""
    from scipy.ndimage import affine_transform

    angle, scale = random.uniform(-math.pi, math.pi), math.exp(random.uniform(-0.22, 0.22))
    stretch, shear = math.exp(random.uniform(-0.1, 0.1)), random.uniform(-0.1, 0.1)
    cosine, sine = math.cos(angle), math.sin(angle)
    turn = np.array([[cosine, -sine], [sine, cosine]])
    matrix = turn @ np.array([[stretch, shear], [0.0, 1.0 / stretch]]) / scale
    if random.integers(2):
        matrix = matrix @ np.diag([1.0, -1.0])
    sizes = np.array(image.shape)
    centre = (sizes - 1) / 2
    offset = centre + sizes * random.uniform(-0.05, 0.05, size=2) - matrix @ centre
    # Beyond the edge the image is mirrored, which looks like tissue, but nobody labelled it.
    moved = affine_transform(image, matrix, offset, order=1, mode="mirror", output=np.float32)
    labels = affine_transform(reference, matrix, offset, order=0, mode="constant", cval=IGNORED)
    return moved, labels


def _exposed(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Another coil, contrast, brightness and amount of noise; still about 0..1."""
    rows, columns = (np.linspace(-1, 1, size, dtype=np.float32) for size in image.shape)
    slopes = random.uniform(-0.3, 0.3, size=4).astype(np.float32)
    down = slopes[0] * rows + slopes[1] * (rows**2 - 0.5)
    across = slopes[2] * columns + slopes[3] * (columns**2 - 0.5)
    image = np.clip(image, 0, 1) * np.exp(down)[:, np.newaxis] * np.exp(across)
    image = image ** np.float32(math.exp(random.uniform(-0.4, 0.4)))
    image = image * np.float32(random.uniform(0.8, 1.25)) + np.float32(random.uniform(-0.1, 0.1))
    noise = random.standard_normal(image.shape, dtype=np.float32)
    return np.asarray(image + np.float32(abs(random.normal(0, 0.03))) * noise, np.float32)

"""Augmentation of heads: another pose, another contrast, another scanner.

A network that is trained on a handful of volumes must not rely on their contrasts, so intensities are mapped by random
curves, an idea of SynthSeg (Billot et al., Medical Image Analysis 2023).
"""

from __future__ import annotations

import math

import numpy as np

from autoopt.workloads.contract import IGNORED, Sample
from autoopt.workloads.identity import plain_name

LARGEST_TURN = 0.25
"""Radians about each axis: a head may lie askew, but not on its side."""
LARGEST_SCALE = 0.16
"""Of the logarithm of the size along each axis: from small children to large adults."""
LARGEST_SHIFT = 0.06
"""As a share of the image's size."""
LARGEST_SHEAR = 0.08
BIAS = 0.35
"""The largest coefficient of the polynomial that is the logarithm of the coil's sensitivity."""
KNOTS = 6
"""Of a random curve from intensity to intensity."""


@plain_name("brain-1")
def augment(sample: Sample, random: np.random.Generator) -> Sample:
    """Another head: moved, mirrored, with another contrast, coil and noise.

    float32 (x, y, z, 1) in 0..1, in RAS order. What comes from beyond the edge is air and, in the reference, `IGNORED`.
    All lengths are shares of the size.
    """
    image, reference = _moved(sample.image[..., 0], sample.reference, random)
    image = _recontrasted(image, random)
    image = _scanned(image, random)
    return Sample(_levelled(image)[..., np.newaxis], reference)


def _moved(image: np.ndarray, reference: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mirrored left-right, turned, scaled, sheared and shifted about the centre."""
    from scipy.ndimage import affine_transform

    matrix = np.eye(3)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        angle = random.uniform(-LARGEST_TURN, LARGEST_TURN)
        turn = np.eye(3)
        turn[[first, second], [first, second]] = math.cos(angle)
        turn[first, second], turn[second, first] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ turn
    shear = np.eye(3) + np.triu(random.uniform(-LARGEST_SHEAR, LARGEST_SHEAR, (3, 3)), 1)
    whole = random.uniform(-LARGEST_SCALE, LARGEST_SCALE)
    matrix = matrix @ shear @ np.diag(np.exp(whole + random.uniform(-LARGEST_SCALE / 2, LARGEST_SCALE / 2, 3)))
    if random.random() < 0.5:
        matrix[:, 0] *= -1
    centre = (np.array(image.shape) - 1) / 2
    shift = np.array(image.shape) * random.uniform(-LARGEST_SHIFT, LARGEST_SHIFT, 3)
    offset = centre + shift - matrix @ centre
    moved = affine_transform(image, matrix, offset, order=1, mode="constant", cval=0.0)
    return moved, affine_transform(reference, matrix, offset, order=0, mode="constant", cval=IGNORED)


def _recontrasted(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Intensities through another curve: a gamma, a rising curve, or any curve that leaves air nearly dark."""
    kind = random.random()
    if kind < 0.35:
        return np.asarray(image ** np.float32(math.exp(random.uniform(-0.7, 0.7))), np.float32)
    values = random.uniform(0.0, 1.0, KNOTS)
    values = np.sort(values) if kind < 0.6 else values
    values[0] = random.uniform(0.0, 0.08)
    places = np.sort(np.concatenate([[0.0, 1.0], random.uniform(0.05, 0.95, KNOTS - 2)]))
    # A quarter of the old contrast stays, so that tissues on a flat piece of the curve keep an edge.
    return np.asarray(0.75 * np.interp(image, places, values) + 0.25 * image, np.float32)


def _scanned(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Seen by another scanner: sensitivity of the coil, thicker slices or less sharpness, noise."""
    from scipy.ndimage import gaussian_filter, gaussian_filter1d

    image = image * _bias(image.shape, random)
    blurred = random.random()
    if blurred < 0.3:
        image = gaussian_filter1d(image, random.uniform(0.4, 1.3), axis=int(random.integers(3)))
    elif blurred < 0.5:
        image = gaussian_filter(image, random.uniform(0.3, 0.9))
    if random.random() < 0.7:
        spread = np.float32(random.uniform(0.0, 0.08))
        image = np.abs(image + spread * random.standard_normal(image.shape, np.float32))
    return image


def _bias(shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """A smooth field around 1: the exponential of a random quadratic polynomial."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, size, dtype=np.float32) for size in shape), indexing="ij", sparse=True)
    strength = random.uniform(0.0, BIAS)
    terms = random.uniform(-strength, strength, 9).astype(np.float32)
    field = terms[0] * x + terms[1] * y + terms[2] * z + terms[3] * x * x + terms[4] * y * y + terms[5] * z * z
    field = field + terms[6] * x * y + terms[7] * x * z + terms[8] * y * z
    return np.asarray(np.exp(field), np.float32)


def _levelled(image: np.ndarray) -> np.ndarray:
    """Clipped and scaled as the pipeline does with the images that the network is given in use."""
    low, high = np.percentile(image[::2, ::2, ::2], (2.0, 95.0))
    return np.asarray(np.clip((image - low) / max(high - low, 1e-3), 0.0, 1.0), np.float32)

"""Augmentation of H&E tiles: other positions, another stain and another light."""

from __future__ import annotations

import numpy as np

from autoopt.workloads.contract import Sample
from autoopt.workloads.identity import plain_name


@plain_name("histo-1")
def augment(sample: Sample, random: np.random.Generator) -> Sample:
    """Another tile: turned by right angles, mirrored, with a slightly different stain and light."""
    turns, mirrored = int(random.integers(4)), bool(random.integers(2))
    image, mask = np.rot90(sample.image, turns), np.rot90(sample.reference, turns)
    if mirrored:
        image, mask = image[:, ::-1], mask[:, ::-1]
    return Sample(_stain(image, random), mask)


def _stain(image: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Another amount of each dye and another light: changed as optical densities, which add up."""
    density = -np.log((image.astype(np.float32) + 1) / 256)
    changed = density * random.uniform(0.75, 1.3, size=3).astype(np.float32) + random.normal(0, 0.03, size=3)
    return np.asarray(np.clip(256 * np.exp(-np.maximum(changed, 0)) - 1, 0, 255), np.float32)

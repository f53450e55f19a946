"""Augmentation of windows of time series: other sensors, a shift in time, more noise."""

from __future__ import annotations

import numpy as np

from autoopt.workloads.contract import Sample
from autoopt.workloads.identity import plain_name


@plain_name("timeseries-1")
def augment(sample: Sample, random: np.random.Generator) -> Sample:
    """Another window: each channel with another gain and offset, moved in time by up to a tenth, with more noise.

    What moves out of the window is left out, and its edge repeated at the other end. Offsets and noise are shares of
    the standard deviation of their channel in this window.
    """
    image = np.asarray(sample.image, np.float32)
    length, channels = image.shape
    reach = length // 10
    places = np.clip(np.arange(length) + int(random.integers(-reach, reach + 1)), 0, length - 1)
    image = image[places]
    spread = image.std(axis=0)
    gains = random.uniform(0.8, 1.25, channels)
    offsets = random.uniform(-0.2, 0.2, channels) * spread
    noise = random.normal(size=image.shape) * random.uniform(0.0, 0.2) * spread
    return Sample(np.asarray(image * gains + offsets + noise, np.float32), sample.reference)

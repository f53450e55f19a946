"""A metric: the share of pixels with the right label."""

from __future__ import annotations

import numpy as np

from autoopt.measure.metrics import Compared, case_metric


@case_metric("segmentation", "the share of pixels with the right label")
def right_pixels(compared: Compared) -> float | None:
    """Right over all."""
    return float(np.mean(compared.reference == compared.prediction))

"""The values of an image: as 8-bit pixels, scaled by the image itself, normalised with fixed numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from autoopt.inference.pipeline_settings import PipelineSettings

SMALLEST_RANGE = 1e-6
"""The range or standard deviation that a constant image is divided by."""


def scaled(values: np.ndarray, settings: PipelineSettings) -> np.ndarray:
    """Values (*spatial, channels), limited to `clip`, then scaled per channel as `intensity` says."""
    if settings.clip is not None:
        low, high = (np.float32(limit) for limit in settings.clip)
        values = np.clip(values, low, high)
    return INTENSITIES[settings.intensity](values, settings)


def normalised(values: np.ndarray, settings: PipelineSettings) -> np.ndarray:
    """float32 (channels, *spatial) of values (*spatial, channels): (value / scale - mean) / std per channel."""
    # Turned first, then in place: a tenth of the time of the formula as it stands, and the same to the last bit.
    result = np.array(np.moveaxis(values, -1, 0), np.float32, order="C")
    each = (-1, *[1] * (values.ndim - 1))
    mean, std = (np.asarray(item, np.float32).reshape(each) for item in (settings.mean, settings.std))
    result /= np.float32(settings.scale)
    result -= mean
    result /= std
    return result


def as_pixels(values: np.ndarray) -> np.ndarray:
    """The values as uint8. Raises ValueError unless all of them are whole numbers from 0 to 255."""
    if values.dtype == np.uint8:
        return values
    if not ((values >= 0) & (values <= 255) & (values == np.trunc(values))).all():
        raise ValueError(
            "an image must hold whole numbers from 0 to 255, because the graph takes pixels in 8 bits, "
            f"got {values.dtype} from {values.min():g} to {values.max():g}"
        )
    return values.astype(np.uint8)


def _fixed(values: np.ndarray, settings: PipelineSettings) -> np.ndarray:
    return values


def _percentile(values: np.ndarray, settings: PipelineSettings) -> np.ndarray:
    """Clipped to two percentiles of each channel, which become 0 and 1."""
    flat = values.reshape(-1, values.shape[-1])
    low, high = np.percentile(flat, settings.percentiles, axis=0).astype(np.float32)
    return np.asarray((np.clip(values, low, high) - low) / np.maximum(high - low, SMALLEST_RANGE), np.float32)


def _zscore(values: np.ndarray, settings: PipelineSettings) -> np.ndarray:
    """Mean 0 and standard deviation 1 in each channel."""
    # Channel by channel, each in one piece: over a strided axis numpy adds one value after the other and loses digits.
    channels = [np.ascontiguousarray(values[..., index]) for index in range(values.shape[-1])]
    mean = np.array([channel.mean() for channel in channels], np.float32)
    deviation = np.array([channel.std() for channel in channels], np.float32)
    return np.asarray((values - mean) / np.maximum(deviation, SMALLEST_RANGE), np.float32)


INTENSITIES: Mapping[str, Callable[[np.ndarray, PipelineSettings], np.ndarray]] = {
    "fixed": _fixed,
    "percentile": _percentile,
    "zscore": _zscore,
}
"""Name of an `intensity` to its function, from float32 (*spatial, channels) to the same shape."""

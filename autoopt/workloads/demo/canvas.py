"""A square canvas for synthetic tiles: random numbers, smooth noise, ellipses, blur.

The same pixels everywhere: all arithmetic is float64, all randomness comes from `Generator.random` over
PCG64 (no distribution whose method may change), and no result sits on a rounding border.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
SEED = 1
"""Another seed gives other tiles: raise the version of the generator with it."""
SIZE = 224


class Draw:
    """Random numbers of one tile or patient, all made from uniform doubles."""

    def __init__(self, *seed: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence((SEED, *seed))))

    def between(self, low: float, high: float, size: int | tuple[int, ...] = ()) -> Array:
        """Uniform numbers from low to high."""
        return low + (high - low) * np.asarray(self._generator.random(size), dtype=np.float64)

    def one(self, low: float, high: float) -> float:
        """One uniform number from low to high."""
        return low + (high - low) * self._generator.random()

    def happens(self, chance: float) -> bool:
        """Whether something of this chance happens."""
        return self._generator.random() < chance

    def field(self, step: int) -> Array:
        """Smooth noise of the tile's size: mean 0, standard deviation about 1, correlated over `step` pixels."""
        weights = spline(step)
        coarse = self.between(-1.0, 1.0, (weights.shape[1], weights.shape[1]))
        return 3.6 * (weights @ coarse @ weights.T)


def jittered(draw: Draw, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Places `step` pixels apart, each moved at random: rows and columns inside the tile."""
    rows, columns = np.mgrid[step // 2 : SIZE : step, step // 2 : SIZE : step]
    moved = [axis.ravel() + draw.between(-0.45 * step, 0.45 * step, axis.size) for axis in (rows, columns)]
    down, across = (np.clip(axis.astype(np.int64), 0, SIZE - 1) for axis in moved)
    return down, across


def steepest(distance: Array, rows: np.ndarray, columns: np.ndarray) -> Array:
    """The direction, as an angle, in which the distance grows fastest at these places."""
    up, down = np.maximum(rows - 2, 0), np.minimum(rows + 2, SIZE - 1)
    left, right = np.maximum(columns - 2, 0), np.minimum(columns + 2, SIZE - 1)
    slope = distance[down, columns] - distance[up, columns]
    return np.asarray(np.arctan2(slope, distance[rows, right] - distance[rows, left]))


def stamp(rows: np.ndarray, columns: np.ndarray, long: Array, wide: Array, angle: Array, value: Array) -> Array:
    """Ellipses of half axes `long` and `wide` with soft edges on an empty tile; where two overlap the stronger wins."""
    reach = 7
    down, across = (axis.ravel() for axis in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    cosine, sine = np.cos(angle)[:, None], np.sin(angle)[:, None]
    u = (across * cosine + down * sine) / long[:, None]
    v = (down * cosine - across * sine) / wide[:, None]
    square = u * u + v * v
    soft = np.clip(2.2 * (1.15 - square), 0.0, 1.0) * (0.8 + 0.2 * np.minimum(square, 1.0)) * value[:, None]
    canvas = np.zeros((SIZE + 2 * reach, SIZE + 2 * reach))
    flat = (rows[:, None] + reach + down) * canvas.shape[1] + columns[:, None] + reach + across
    np.maximum.at(canvas.reshape(-1), flat.ravel(), soft.ravel())
    return canvas[reach:-reach, reach:-reach]


@lru_cache(maxsize=32)
def spline(step: int) -> Array:
    """Cubic B-spline weights (224, knots) for knots `step` pixels apart."""
    place = np.arange(SIZE) / step
    knots = np.arange(-1, SIZE // step + 3)
    away = np.abs(place[:, None] - knots[None, :])
    near, far = 2.0 / 3.0 - away**2 + away**3 / 2.0, np.maximum(2.0 - away, 0.0) ** 3 / 6.0
    return np.where(away < 1.0, near, far)


def blur(sigma: float) -> Array:
    """The matrix (224, 224) that blurs one axis by a Gaussian of `sigma` pixels."""
    away = np.arange(SIZE)[:, None] - np.arange(SIZE)[None, :]
    weights = np.exp(-0.5 * (away / sigma) ** 2)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))

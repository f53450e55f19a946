"""Pareto sets of plain arrays (points, objectives), every objective minimised: pure functions, no state.

Points are compared as they are: take logarithms or change signs before. NaN has no order and is refused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def dominates(a: ArrayLike, b: ArrayLike) -> bool:
    """Whether point `a` is nowhere worse than point `b` and somewhere better. Raises ValueError for NaN."""
    both = _points([np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)])
    return bool(np.all(both[0] <= both[1]) and np.any(both[0] < both[1]))


def front(points: ArrayLike) -> np.ndarray:
    """Which of the points (n, k) no other dominates: a boolean mask (n,). Equal points stay or go together.

    Raises ValueError for NaN or an array that is not two-dimensional.
    """
    array = _points(points)
    if not len(array):
        return np.zeros(0, dtype=bool)
    return _front_of_two(*array.T) if array.shape[1] == 2 else _front_of_many(array)


def _front_of_two(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A sweep: a point stays when it is the lowest of its x, and lower than all with a smaller x."""
    order = np.lexsort((y, x))
    xs, ys = x[order], y[order]
    first = np.concatenate([[True], xs[1:] > xs[:-1]])
    group = np.cumsum(first) - 1
    lowest = ys[first]
    before = np.concatenate([[np.inf], np.minimum.accumulate(lowest)[:-1]])
    keep = np.empty(len(x), dtype=bool)
    keep[order] = (ys == lowest[group]) & ((ys < before[group]) | (group == 0))
    return keep


def _front_of_many(array: np.ndarray) -> np.ndarray:
    """In lexicographic order a point is dominated only by points before it, so only the front so far is looked at."""
    keep = np.zeros(len(array), dtype=bool)
    for index in np.lexsort(array.T[::-1]):
        point, found = array[index], array[keep]
        keep[index] = not np.any(np.all(found <= point, axis=1) & np.any(found < point, axis=1))
    return keep


def ranks(points: ArrayLike) -> np.ndarray:
    """How many fronts lie before each point (n,): 0 on the front, 1 on the front of the rest, and so on.

    The non-dominated sorting of NSGA-II (Deb et al. 2002). Raises ValueError as `front` does.
    """
    array = _points(points)
    rank = np.zeros(len(array), dtype=np.int64)
    rest = np.arange(len(array))
    current = 0
    while rest.size:
        mask = front(array[rest])
        rank[rest[mask]] = current
        rest = rest[~mask]
        current += 1
    return rank


def hypervolume(points: ArrayLike, reference: ArrayLike) -> float:
    """The volume between the points (n, k) and the worst corner `reference` (k,), in the objectives' units.

    A point that is not better than the reference in every objective adds nothing. Exact: a sweep in
    two objectives, slicing in more (HSO: While, Hingston, Barone, Huband 2006), which takes long
    beyond four objectives or some hundred points. Raises ValueError for NaN, infinity or a reference
    of another length.
    """
    array = _points(points)
    corner = np.asarray(reference, dtype=np.float64)
    if array.size and corner.shape != array.shape[1:]:
        raise ValueError(f"the reference must have one number per objective {array.shape[1:]}, got {corner.shape}")
    if not (np.all(np.isfinite(array)) and np.all(np.isfinite(corner))):
        raise ValueError("a hypervolume needs finite points and a finite reference")
    inside = array[np.all(array < corner, axis=1)] if array.size else array
    return _volume(inside, corner)


def knee(points: ArrayLike, noise: ArrayLike = 0.0) -> int:
    """The index of the best compromise among the points (n, k): the farthest below the chord of the extremes.

    After scaling every objective to 0..1 the chord (in more than two objectives the plane) joins the
    points that are best in one objective and worst in the rest (Das 1999, "On characterizing the knee of
    the Pareto curve"). Differences within the `noise` (k,) of an objective decide nothing: one whose points
    lie closer together is scaled to less than 0..1, so that it counts by the share of its noise that it spans.
    One point is its own knee; of equals the first is taken. Raises ValueError when there are no points, for
    NaN and for infinity.
    """
    array = _points(points)
    if not len(array) or not np.all(np.isfinite(array)):
        raise ValueError("a knee needs at least one point and finite numbers")
    low = array.min(axis=0)
    span = np.maximum(array.max(axis=0) - low, np.asarray(noise, dtype=np.float64))
    scaled = np.divide(array - low, span, out=np.zeros_like(array), where=span > 0)
    # The distance below the plane through the unit points is (1 - sum) / sqrt(k); rounding must not break ties.
    return int(np.argmin(np.round(scaled.sum(axis=1), 12)))


def _points(points: ArrayLike) -> np.ndarray:
    array = np.asarray(points, dtype=np.float64)
    if array.size == 0:
        return array.reshape(0, array.shape[1] if array.ndim == 2 else 0)
    if array.ndim != 2:
        raise ValueError(f"points must be an array (points, objectives), got the shape {array.shape}")
    if np.any(np.isnan(array)):
        raise ValueError("points must not hold NaN: leave out what was not measured")
    return array


def _volume(points: np.ndarray, corner: np.ndarray) -> float:
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(corner[0] - points.min())
    points = np.unique(points[front(points)], axis=0)  # sorted by the first objective
    if points.shape[1] == 2:
        ceilings = np.concatenate([corner[1:], points[:-1, 1]])
        return float(np.sum((corner[0] - points[:, 0]) * (ceilings - points[:, 1])))
    edges = np.append(points[1:, 0], corner[0])
    return sum(
        float(edge - point[0]) * _volume(points[: index + 1, 1:], corner[1:])
        for index, (edge, point) in enumerate(zip(edges, points, strict=True))
    )

"""The study's own model of a space: Gaussian processes over canonical points, and the points worth most by it.

A space of compressions is small and discrete, so nothing is drawn from densities: every candidate is looked at, and
the one comes next whose expected gain of hypervolume is largest (EHVI: Emmerich, Giannakoglou, Naujoks 2006; here by
Monte Carlo), times the chance that it keeps the limits and does not fail. Two models judge. The one with a product
kernel takes a point that differs in a whole step for unlike all that is known: it finds what nobody expects. The one
with an additive kernel (Duvenaud, Nickisch, Rasmussen 2011) adds up what settings did elsewhere: it combines what was
good.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autoopt.core.configuration import Scalar
from autoopt.core.pareto import front, hypervolume, ranks

LENGTHS = (0.005, 0.05, 0.2, 0.6, 1.5, 4.0)
"""How much of the correlation a setting costs when it differs; which one fits best is decided by the likelihood. The
least is that of a setting that changes next to nothing: all its values are one."""
MIDDLE = 3
"""Where a fit begins; it goes to neighbours while that is likelier."""
SWEEPS = 3
NOISES = (1e-4, 1e-2, 1e-1)
"""Variances of what is measured, as a share of that of the values."""
PRODUCT = (0.0,)
SHARES = (0.1, 0.5, 0.9)
"""The additive part of a kernel: how much of its effect a setting has whatever the other settings are."""
MODELS = ((False, PRODUCT), (True, SHARES))
"""The product and the additive kernel: whether settings that vary only together are merged, and the additive parts that
are tried."""
KNOWN = 150
"""Points that the model learns from: a process of n points takes time as n cubed, and what lies far behind the front
says little about where it goes on."""
DRAWS = 32
"""Of each model."""
MOST_NOISE = 0.02
"""Of the range of an objective: of what is called noise, no more is held against a gain."""
WORST = 0.1
"""How far beyond the worst value that was told, as a share of the range of all, a gain still counts."""


_ABSENT = "(absent)"


class Features:
    """Configurations as rows of numbers: two rows differ in a column by 0 to 1, and wholly where one lacks it.

    `merged`: settings that vary only together, as most of a step that is on or off, are one column.
    """

    def __init__(self, points: Sequence[Mapping[str, Scalar]]) -> None:
        names = sorted({name for point in points for name in point})
        self._names = [name for name in names if len({point.get(name, _ABSENT) for point in points}) > 1]
        self._ranks: dict[str, dict[Scalar, float]] = {}
        for name in self._names:
            values = {point[name] for point in points if name in point}
            numbers = [item for item in values if isinstance(item, int | float) and not isinstance(item, bool)]
            if len(numbers) > 2 and len(numbers) >= len(values) - 1:  # at most None besides
                ordered = sorted(numbers)
                self._ranks[name] = {item: place / (len(ordered) - 1) for place, item in enumerate(ordered)}
        by_partition: dict[tuple[int, ...], str] = {}
        for name in (*self._ranks, *self._names):  # of two that vary together, the one whose distances say more
            codes: dict[Scalar, int] = {}
            parts = tuple(codes.setdefault(point.get(name, _ABSENT), len(codes)) for point in points)
            by_partition.setdefault(parts, name)
        self._merged = sorted(by_partition.values())

    def apart(
        self, one: Sequence[Mapping[str, Scalar]], other: Sequence[Mapping[str, Scalar]], *, merged: bool = False
    ) -> np.ndarray:
        """How far the points of `one` and `other` differ in each column: (columns, len(one), len(other))."""
        names = self._merged if merged else self._names
        found = np.empty((len(names), len(one), len(other)))
        for place, name in enumerate(names):
            left, right = ([point.get(name, _ABSENT) for point in points] for points in (one, other))
            ranks = self._ranks.get(name, {})
            codes: dict[Scalar, int] = {}
            a, b = (np.array([codes.setdefault(item, len(codes)) for item in items]) for items in (left, right))
            differ = (a[:, None] != b[None, :]).astype(float)
            if ranks:
                x, y = (np.array([ranks.get(item, np.nan) for item in items]) for items in (left, right))
                between = np.abs(x[:, None] - y[None, :])
                differ = np.where(np.isnan(between), differ, between)
            found[place] = differ
        return found


@dataclass(frozen=True)
class Process:
    """A Gaussian process that was fitted to values: its kernel, and what follows for other points.

    The kernel is that of all settings together, a product, and to a `share` the mean of those of single ones (Duvenaud,
    Nickisch, Rasmussen 2011).
    """

    lengths: np.ndarray
    share: float
    mean: float
    scale: float
    _weights: np.ndarray
    _half: np.ndarray

    @classmethod
    def fitted(cls, apart: np.ndarray, values: np.ndarray, shares: Sequence[float] = PRODUCT) -> Process:
        """Fitted to `values` (n,) of points that differ by `apart` (columns, n, n), with one of these `shares`."""
        mean, scale = float(values.mean()), float(values.std()) or 1.0
        standard = (values - mean) / scale
        at, share, noise = [MIDDLE] * len(apart), shares[len(shares) // 2], NOISES[1]
        alone = np.exp(-LENGTHS[MIDDLE] * apart)
        total, mixed = LENGTHS[MIDDLE] * apart.sum(axis=0), alone.mean(axis=0)
        best = _likelihood(_kernel(total, mixed, share), noise, standard)
        for _ in range(SWEEPS):
            for place, column in enumerate(apart):
                for other in (at[place] - 1, at[place] + 1):
                    if 0 <= other < len(LENGTHS):
                        changed = np.exp(-LENGTHS[other] * column)
                        tried = total + (LENGTHS[other] - LENGTHS[at[place]]) * column
                        tried_mixed = mixed + (changed - alone[place]) / len(apart)
                        score = _likelihood(_kernel(tried, tried_mixed, share), noise, standard)
                        if score > best:
                            best, total, mixed = score, tried, tried_mixed
                            at[place], alone[place] = other, changed
                            break
            for part, variance in itertools.product(shares, NOISES):
                score = _likelihood(_kernel(total, mixed, part), variance, standard)
                if score > best:
                    best, share, noise = score, part, variance
        half = np.linalg.cholesky(_kernel(total, mixed, share) + noise * np.eye(len(values)))
        weights = np.linalg.solve(half.T, np.linalg.solve(half, standard))
        return cls(np.array([LENGTHS[place] for place in at]), share, mean, scale, weights, half)

    def predict(self, apart: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Means and standard deviations of points that differ from the fitted ones by (columns, m, n)."""
        alone = np.exp(-self.lengths[:, None, None] * apart)
        kernel = _kernel(np.tensordot(self.lengths, apart, axes=1), alone.mean(axis=0), self.share)
        solved = np.linalg.solve(self._half, kernel.T)
        variance = np.maximum(1.0 - (solved**2).sum(axis=0), 1e-9)
        return self.mean + self.scale * (kernel @ self._weights), self.scale * np.sqrt(variance)


@dataclass(frozen=True)
class Choice:
    """The place of the candidate that is worth most to try, and what the best of all is expected to add.

    `gain` is a share of the hypervolume that was found so far; None with more than two objectives, or before a trial
    kept the limits.
    """

    place: int
    gain: float | None


def best_candidate(
    told: Sequence[Mapping[str, Scalar]],
    values: np.ndarray,
    excess: np.ndarray,
    failed: Sequence[Mapping[str, Scalar]],
    candidates: Sequence[Mapping[str, Scalar]],
    rng: np.random.Generator,
    noise: Sequence[float] = (),
) -> Choice:
    """The candidate that is worth most to try.

    `values` (n, objectives) are minimised and belong to the points `told`; `excess` (n, limits) is above 0 where a
    limit is broken; `failed` gave no values. `noise` (objectives,) is what tells no two points apart: only what is
    better by more is a gain, so points that are tied with known ones are worth no trial.
    """
    if len(told) > KNOWN:
        chosen = _telling(values, excess)
        told, values, excess = [told[index] for index in chosen], values[chosen], excess[chosen]
    failed = failed[-KNOWN:]
    worth = _prospects(told, values, excess, failed, candidates)
    within = np.asarray((excess <= 0).all(axis=1) if excess.size else np.ones(len(values), dtype=bool))
    kept = values[within] if within.any() else values
    box = _box(values, within) if within.any() and values.shape[1] == 2 else None
    features = Features([*told, *failed, *candidates])
    beyond_noise = _bounded(noise, kept)
    gain, share = np.zeros(len(candidates)), np.zeros(len(candidates))
    for merged, shares in MODELS:
        apart, beyond = features.apart(told, told, merged=merged), features.apart(candidates, told, merged=merged)
        found = []
        for column in values.T:
            mean, deviation = Process.fitted(apart, column, shares).predict(beyond)
            found.append(mean + deviation * rng.standard_normal((DRAWS, 1)))
        draws = np.stack(found, axis=-1)
        gain += _gains(kept, values, draws + beyond_noise, rng)
        if box is not None:
            share += _added(kept, draws, box)
    place = int(np.argmax((gain + 1e-12) * worth))
    whole = 0.0 if box is None else hypervolume(kept, box)
    return Choice(place, float((share * worth).max()) / len(MODELS) / whole if whole > 0 else None)


def believed(
    told: Sequence[Mapping[str, Scalar]],
    values: np.ndarray,
    excess: np.ndarray,
    pending: Sequence[Mapping[str, Scalar]],
) -> tuple[np.ndarray, np.ndarray]:
    """What is expected of points that are being measured: their objectives and their excess over the limits.

    Each objective is the mean of the two models, each limit that of one (the "kriging believer" of Ginsbourger, Le
    Riche, Carraro 2010): who proposes the next point takes them for told, and looks elsewhere.
    """
    if len(told) > KNOWN:
        chosen = _telling(values, excess)
        told, values, excess = [told[index] for index in chosen], values[chosen], excess[chosen]
    features = Features([*told, *pending])
    means = np.zeros((len(pending), values.shape[1]))
    for merged, shares in MODELS:
        apart, beyond = features.apart(told, told, merged=merged), features.apart(pending, told, merged=merged)
        for place, column in enumerate(values.T):
            means[:, place] += Process.fitted(apart, column, shares).predict(beyond)[0] / len(MODELS)
    limits = np.zeros((len(pending), excess.shape[1]))
    apart, beyond = features.apart(told, told), features.apart(pending, told)
    for place, column in enumerate(excess.T):
        limits[:, place] = Process.fitted(apart, np.clip(column, *_clip(column))).predict(beyond)[0]
    return means, limits


def _bounded(noise: Sequence[float], kept: np.ndarray) -> np.ndarray:
    """The noise, at most a share of what lies between the best and the worst: however little is known, gains count."""
    if not len(noise):
        return np.zeros(kept.shape[1])
    bounded: np.ndarray = np.minimum(np.asarray(noise), MOST_NOISE * (kept.max(axis=0) - kept.min(axis=0)))
    return bounded


def _prospects(
    told: Sequence[Mapping[str, Scalar]],
    values: np.ndarray,
    excess: np.ndarray,
    failed: Sequence[Mapping[str, Scalar]],
    candidates: Sequence[Mapping[str, Scalar]],
) -> np.ndarray:
    """The chance of each candidate to keep the limits and not to fail."""
    features = Features([*told, *failed, *candidates])
    apart, beyond = features.apart(told, told), features.apart(candidates, told)
    worth = np.ones(len(candidates))
    for column in excess.T:
        if (column > 0).any():
            mean, deviation = Process.fitted(apart, np.clip(column, *_clip(column))).predict(beyond)
            worth *= _below_zero(mean, deviation)
    if failed:
        every = [*told, *failed]
        success = np.array([-1.0] * len(told) + [1.0] * len(failed))
        process = Process.fitted(features.apart(every, every), success)
        worth *= _below_zero(*process.predict(features.apart(candidates, every)))
    return worth


def _box(values: np.ndarray, within: np.ndarray) -> np.ndarray:
    """The corner up to which a gain counts for what is still to be expected: where the limits begin to break.

    In each objective that is the mildest value beyond all that keep the limits (`within`) which breaks one; where there
    is none, a little beyond the worst of them.
    """
    kept, broken = values[within], values[~within]
    worst = kept.max(axis=0)
    span = worst - kept.min(axis=0)
    corner: np.ndarray = worst + WORST * np.where(span > 0, span, 1.0)
    for place, column in enumerate(broken.T):
        beyond = column[column > worst[place]]
        corner[place] = beyond.min() if len(beyond) else corner[place]
    return corner


def _telling(values: np.ndarray, excess: np.ndarray) -> np.ndarray:
    """The places of the `KNOWN` points that say most of the front: those that keep the limits first, then by rank."""
    broken = (excess > 0).any(axis=1) if excess.size else np.zeros(len(values), dtype=bool)
    return np.sort(np.lexsort((np.arange(len(values))[::-1], ranks(values), broken))[:KNOWN])


def _gains(known: np.ndarray, told: np.ndarray, draws: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """What each candidate adds to the hypervolume of `known`, on average over draws (draws, candidates, objectives).

    The corner is that of all that was `told`, also what broke a limit: what keeps the limits may lie between.
    With more than two objectives: what it adds to the best of a random direction (Knowles 2006, ParEGO).
    """
    low, high = told.min(axis=0), told.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    scaled, drawn = (known - low) / span, (draws - low) / span
    if known.shape[1] != 2:
        weights = rng.dirichlet(np.ones(known.shape[1]))
        best = (scaled * weights).max(axis=1).min()
        better: np.ndarray = np.maximum(best - (drawn * weights).max(axis=2), 0.0).mean(axis=0)
        return better
    return _added(scaled, drawn, np.full(2, 1.0 + WORST))


def _added(known: np.ndarray, draws: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """What each candidate adds to the area between `known` and the corner, on average over draws (draws, n, 2)."""
    edge = known[front(known)]
    edge = edge[np.argsort(edge[:, 0])]
    starts = np.concatenate([[-np.inf], edge[:, 0]])
    ends = np.concatenate([edge[:, 0], [corner[0]]])
    heights = np.concatenate([[corner[1]], edge[:, 1]])
    total = np.zeros(draws.shape[:2])
    for start, end, height in zip(starts, ends, heights, strict=True):
        width = np.maximum(np.minimum(end, corner[0]) - np.maximum(start, draws[..., 0]), 0.0)
        total += width * np.maximum(height - draws[..., 1], 0.0)
    mean: np.ndarray = total.mean(axis=0)
    return mean


def _kernel(total: np.ndarray, mixed: np.ndarray, share: float) -> np.ndarray:
    """From the distances in all columns together (m, n) and the mean of the kernels of single ones."""
    kernel: np.ndarray = (1 - share) * np.exp(-total) + share * mixed
    return kernel


def _likelihood(kernel: np.ndarray, noise: float, values: np.ndarray) -> float:
    half = np.linalg.cholesky(kernel + noise * np.eye(len(values)))
    fit = np.linalg.solve(half, values)
    return float(-0.5 * fit @ fit - np.log(np.diag(half)).sum())


def _below_zero(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """The chance of a normal value to be at most 0, by a logistic approximation."""
    chance: np.ndarray = 1 / (1 + np.exp(np.clip(1.702 * mean / deviation, -60, 60)))
    return chance


def _clip(column: np.ndarray) -> tuple[float, float]:
    """How far a limit is broken matters less than that it is: what is far away must not decide the scale."""
    within = -float(column[column <= 0].min(initial=0.0))
    reach = within or float(np.abs(column).max())
    return -reach, 3 * reach

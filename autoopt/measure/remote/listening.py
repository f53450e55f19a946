"""How quiet a machine is: equal computations one after the other, and what other programs do meanwhile."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from autoopt.core import stats
from autoopt.measure.target import Target

SIZE = 256
"""Rows and columns of the matrices: a product takes about a millisecond on one core."""
PAUSE_S = 0.05
LEAST = 8


@dataclass(frozen=True)
class Heard:
    """What was found in `seconds`: the shares of the cores that others and the hypervisor took (None where the host
    does not tell), how often the processor was slowed by heat, and the interquartile range of equal computations over
    their median."""

    seconds: float
    foreign_share: float | None
    steal_share: float | None
    throttles: int | None
    spread: float


def listen(target: Target, seconds: float) -> Heard:
    """Compute the same again and again for so many seconds, with pauses."""
    matrix = np.random.default_rng(0).standard_normal((SIZE, SIZE)).astype(np.float32)
    load_so_far = target.load_from_now([])
    times: list[float] = []
    end = time.monotonic() + seconds
    while len(times) < LEAST or time.monotonic() < end:
        began = time.perf_counter()
        matrix @ matrix
        times.append(time.perf_counter() - began)
        time.sleep(PAUSE_S)
    load = load_so_far()
    return Heard(load.wall_s, load.foreign_share, load.steal_share, load.throttles, stats.relative_spread(times))

"""A small fixed computation that any host with numpy can do: a model's time over its time says what the model costs.

It stands for the host: whatever slows the whole host down (other programs, heat, a lower clock) slows both, so that
their ratio says what only the model can change, such as another version of its runtime. It uses no BLAS library, whose
threads would go on spinning beside the model for a while.

Other programs take turns of some milliseconds: a short call may escape them, a long one never does. So the computation
is repeated until it takes about as long as a call of the model; only then the same load slows both alike.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

VERSION = 1
"""Raised when the computation changes: ratios to another version of it are not compared."""
_SMALL, _LARGE = 1 << 15, 1 << 19
"""Numbers in an array that stays in the cache of a core, and in one that does not."""
_ROUNDS = 24


MOST_REPEATS = 20_000
"""Of the computation in a call: half a minute."""


def repeats_for(model_s: float, probe_s: float) -> int:
    """How often a computation of `probe_s` seconds is repeated to take about as long as a model of `model_s`."""
    return max(1, min(MOST_REPEATS, round(model_s / max(probe_s, 1e-9))))


class Probe:
    """The computation, done `repeats` times by each of so many threads; a call waits for all of them."""

    def __init__(self, threads: int = 1, repeats: int = 1) -> None:
        count = max(1, threads)
        self._repeats = repeats
        self._parts = [_Part() for _ in range(count)]
        self._pool = ThreadPoolExecutor(count) if count > 1 else None

    def __call__(self) -> None:
        """Do it as often as it is repeated."""
        if self._pool is None:
            self._parts[0].compute(self._repeats)
        else:
            for future in [self._pool.submit(part.compute, self._repeats) for part in self._parts]:
                future.result()

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()


class _Part:
    """The arrays of one thread."""

    def __init__(self) -> None:
        self._small = np.linspace(0.5, 1.5, _SMALL, dtype=np.float32)
        self._result = np.empty_like(self._small)
        self._large = np.linspace(0.5, 1.5, _LARGE, dtype=np.float32)
        self._copy = np.empty_like(self._large)

    def compute(self, repeats: int) -> None:
        """Arithmetic within the cache, and one pass over memory, so many times."""
        for _ in range(repeats):
            for _ in range(_ROUNDS):
                np.multiply(self._small, self._small, out=self._result)
                np.add(self._result, self._small, out=self._result)
                np.sqrt(self._result, out=self._result)
            np.add(self._large, np.float32(1), out=self._copy)

"""Many calls at the same time by threads of this process: for runtimes that answer one call per thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from autoopt.core.configuration import Scalar

Call = Callable[[np.ndarray], object]


class Callers:
    """Threads that call one function each, all at once: a `base.Concurrent`.

    `effective` is what is really used, besides the number of `requests`; `close` releases the model.
    """

    def __init__(self, calls: Sequence[Call], effective: Mapping[str, Scalar], close: Callable[[], None]) -> None:
        self.requests = len(calls)
        self._calls = tuple(calls)
        self._effective = dict(effective)
        self._close = close
        self._pool = ThreadPoolExecutor(max_workers=len(calls))
        self._lock = threading.Lock()
        self._left = 0

    def run(self, batch: np.ndarray, calls: int, done: Callable[[], object]) -> None:
        """See `base.Concurrent`; whoever is free takes the next call. What a call raises is raised."""
        self._left = calls
        waiting = [self._pool.submit(self._work, call, batch, done) for call in self._calls]
        for future in waiting:
            future.result()

    def effective(self) -> dict[str, Scalar]:
        """See `base.Concurrent`."""
        return {"requests": self.requests, **self._effective}

    def close(self) -> None:
        """End the threads and release the model."""
        self._pool.shutdown()
        self._calls = ()
        self._close()

    def _work(self, call: Call, batch: np.ndarray, done: Callable[[], object]) -> None:
        while self._taken():
            call(batch)
            done()

    def _taken(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0

"""Functions timed in turns within one process: enough to say which is faster, too little for a result of a study."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


def least_seconds(calls: Sequence[Callable[[], object]], *, turns: int, calls_each: int) -> list[float]:
    """The least seconds of one call of each, over `turns` turns of `calls_each`: a busy host only ever adds."""
    least = [float("inf")] * len(calls)
    for _ in range(turns):
        for place, call in enumerate(calls):
            call()  # the first of a turn finds cold caches
            for _ in range(calls_each):
                began = time.perf_counter()
                call()
                least[place] = min(least[place], time.perf_counter() - began)
    return least

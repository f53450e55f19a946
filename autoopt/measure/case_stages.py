"""Where the time of a whole case goes: before the network, in its calls, after it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from autoopt.inference.pipeline import Pipeline, Run


@dataclass(frozen=True)
class CaseStages:
    """The seconds of one case: preparing its tiles, `calls` calls of the network, and making the answer of them."""

    calls: int
    prepare_s: float
    network_s: float
    finish_s: float

    @property
    def total_s(self) -> float:
        """The seconds of the whole case."""
        return self.prepare_s + self.network_s + self.finish_s

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `to_json` wrote."""
        return cls(**value)


def stages_of(
    pipeline: Pipeline,
    run: Run,
    image: np.ndarray,
    affine: np.ndarray | None,
    clock: Callable[[], float] = time.perf_counter,
) -> CaseStages:
    """The stages of one case through the pipeline, as a bundle does it; `clock` gives seconds.

    Tiles are cut and joined one at a time, so each of them is timed by itself. Raises ValueError as `predict`.
    """
    began, calls, network_s, cutting_s = clock(), 0, 0.0, 0.0
    tiles, tiling = pipeline.cut(image, affine)
    prepared_s = clock() - began

    def outputs() -> Iterator[np.ndarray]:
        nonlocal calls, network_s, cutting_s
        asked = clock()
        for tile in tiles:
            called = clock()
            output = np.asarray(run(tile))[0]
            answered = clock()
            calls, network_s, cutting_s = calls + 1, network_s + answered - called, cutting_s + called - asked
            yield output
            asked = clock()

    pipeline.finish(outputs(), tiling)
    finish_s = clock() - began - prepared_s - network_s - cutting_s
    return CaseStages(calls, prepared_s + cutting_s, network_s, finish_s)

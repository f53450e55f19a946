"""Searches that measure as little as they can: `measuring_little` here, `python -m tests.e2e.quick` as the command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from autoopt import cli, loop
from autoopt.evaluate import Bench

LEAST: dict[str, Any] = {
    "processes": 1, "most_processes": 1, "noise_processes": 1, "warmup_min_s": 0.0, "warmup_max_s": 0.02,
    "rounds": 2, "most_rounds": 2, "turn_s": 0.01,
}  # fmt: skip


@contextmanager
def measuring_little() -> Iterator[None]:
    """All searches inside measure each trial in one process, for two short turns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "open_bench", quickly(loop.open_bench))
        yield


def quickly(opening: Callable[..., AbstractContextManager[Bench]]) -> Callable[..., AbstractContextManager[Bench]]:
    """`open_bench` with a plan that measures as little as it can."""

    @contextmanager
    def opened(*arguments: Any, **named: Any) -> Iterator[Bench]:
        with opening(*arguments, **named) as bench:
            yield replace(bench, plan=replace(bench.plan, **LEAST))

    return opened


if __name__ == "__main__":
    with measuring_little():
        cli.main()

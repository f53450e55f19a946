"""The A/A test of a host: what processes differ by, and which estimator sees the least false difference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from autoopt.core.measurement import Measurement
from autoopt.study.trial.noise_test import noise_of

PROCESSES, ROUNDS, CALLS = 16, 6, 5


def same_model(seed: int, call: Callable[[np.random.Generator], float]) -> list[Measurement]:
    """Single processes of a model beside itself, whose calls take 10 ms times `call`."""
    rng = np.random.default_rng(seed)

    def turns() -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(0.01 * call(rng) for _ in range(CALLS)) for _ in range(ROUNDS))

    return [
        Measurement(
            (turns(),),
            ((),),
            (0.01,),
            0.1,
            0.1,
            10**8,
            10**6,
            {},
            "host",
            reference_s=(turns(),),
            reference_workers=("r",),
            reference_latency_s=0.01,
        )
        for _ in range(PROCESSES)
    ]


def test_the_usual_quartile_is_kept_where_nothing_is_clearly_better() -> None:
    """Calls with a little symmetric noise are compared by the 25th percentile, and the floor is a few percent."""
    noise = noise_of(same_model(0, lambda rng: 1.0 + 0.01 * rng.normal()))
    assert noise.quantile == 0.25
    assert 0 < noise.floor < 0.05


@pytest.mark.parametrize("seed", range(3))
def test_a_lower_quantile_is_chosen_where_most_calls_are_slowed(seed: int) -> None:
    """Where most calls take up to twice as long, the lower one sees the smaller false difference and is chosen."""
    noise = noise_of(same_model(seed, lambda rng: 1.0 + (rng.random() if rng.random() < 0.7 else 0.005 * rng.random())))
    assert noise.quantile == 0.1
    assert noise.estimators["paired p10"] < 0.8 * noise.estimators["paired p25"]

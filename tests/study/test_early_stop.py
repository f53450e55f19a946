"""When the rest of a budget is not worth its time: what was promised, what noise hides, what must be tried before."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from autoopt.core.configuration import Configuration
from autoopt.study.early_stop import MOST_GAIN, PATIENCE, EarlyStop, Promises
from autoopt.study.proposals import Proposals
from autoopt.study.samplers import Found, Raw, at_random
from autoopt.study.space import Space
from tests.worlds import space_of

ENDED = EarlyStop(budget=50, trials=43, gain=0.001, noise=0.004)
LEVERS = """
resolution: {factor: [null, 2]}
prune: {ratio: [null, 0.5, 0.75]}
quantize: {scheme: [null, int8], preset: [performance, mixed], calibration_cases: [16, 24, 32, 40]}
runtime: {name: [openvino, fake], precision: f32, threads: [1, 2]}
"""


def test_the_reason_says_what_is_left_and_what_goes_on() -> None:
    """The sentence has promise and noise, the trials that are left, and the option that goes on."""
    assert "0.10% more hypervolume" in ENDED.reason and "makes 0.40%" in ENDED.reason
    assert "7 of 50 trials are left; --no-early-stop or a larger budget goes on" in ENDED.reason
    assert EarlyStop.from_json(asdict(ENDED)) == ENDED


@pytest.mark.parametrize(
    ("gains", "noise", "ends"),
    [
        ([0.001] * PATIENCE, 0.002, True),
        ([0.001] * (PATIENCE - 1), 0.002, False),
        ([*[0.001] * (PATIENCE - 1), 0.003], 0.002, False),
        ([0.003, *[0.001] * PATIENCE], 0.002, True),
        ([*[0.001] * (PATIENCE - 1), None], 0.002, False),
        ([2 * MOST_GAIN] * PATIENCE, 1.0, False),
        ([0.001] * PATIENCE, 0.0, False),
    ],
)
def test_several_promises_in_a_row_must_be_within_noise(gains: list[float | None], noise: float, ends: bool) -> None:
    """The largest of the last promises decides; what nobody knows, and what is worth a trial however noisy, goes on."""
    promises = Promises()
    for gain in gains:
        promises.add(gain)
    small = promises.too_small(lambda: noise)
    assert (small is not None) == ends
    assert small is None or small == (0.001, noise)


class Resigned:
    """A sampler that expects next to nothing of what it draws."""

    expected_gain: float | None = 1e-6
    noise: Sequence[float] = ()

    def __init__(self, space: Space) -> None:
        self._space, self._rng = space, np.random.default_rng(0)

    def tell(self, raw: object, values: object, excess: object) -> None:
        pass

    def ask(
        self,
        seen: Container[str],
        pending: Sequence[Raw] = (),
        among: Callable[[Configuration], bool] | None = None,
    ) -> Found | None:
        for raw, configuration in self._space.points():  # the first are those with nothing pruned
            if configuration.digest not in seen and (among is None or among(configuration)):
                return raw, configuration
        return at_random(self._space, seen, self._rng) if among is None else None


def test_no_search_ends_before_each_value_of_the_large_levers_had_its_trial(tmp_path: Path) -> None:
    """However little is promised, the seeds come first, and a trial of each resolution and each ratio of pruning."""
    space = space_of(tmp_path, LEVERS)
    proposals = Proposals(space, 2, 0, 0)
    proposals._sampler = Resigned(space)
    tried = []
    for proposal in proposals.until(60, lambda: 0.01):
        tried.append(proposal)
        proposals.tell(proposal.configuration, proposal.raw, [0.1, -0.9], {})
    ended = proposals.early_stop
    assert ended is not None and ended.trials == len(tried) < 20 and ended.gain == 1e-6
    assert tried[0].origin == "seed"
    for name, values in {
        "runtime.name": {"torch", "openvino", "fake"},
        "resolution.factor": {None, 2},
        "prune.ratio": {None, 0.5, 0.75},
    }.items():
        assert {proposal.configuration.flat().get(name) for proposal in tried} == values
    assert next(proposals.until(len(tried) + 1), None) is not None, "without a noise to compare with, it goes on"


def test_samplers_that_expect_nothing_in_particular_never_end_early(tmp_path: Path) -> None:
    """A search with a sampler of Optuna spends its budget."""
    proposals = Proposals(space_of(tmp_path), 2, 0, 0, "random")
    for proposal in proposals.until(30, lambda: 1.0):
        proposals.tell(proposal.configuration, proposal.raw, [0.1, -0.9], {})
    assert proposals.early_stop is None

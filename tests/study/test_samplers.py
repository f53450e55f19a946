"""Every sampler of the table, by one contract."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import optuna
import pytest

from autoopt.core.host import Host
from autoopt.study.samplers import SAMPLERS, STARTUP_TRIALS, Forecaster, at_random, distributions, sampler
from autoopt.study.space import Space, load_space

HOST = Host("cpu", "x86_64", 2, 8_000_000_000, ("avx2",), "Linux", {})
SMALL = """
runtime:
  name: fake
  threads: [1, 2]
  latency_ms: [1, 2, 3, 4, 5]
  error: [0.0, 0.01, 0.02]
"""
LARGE = """
runtime:
  name: fake
  threads: [1, 2]
  latency_ms: {low: 1, high: 400, log: true}
  error: {low: 0.0, high: 0.9}
"""
every_sampler = pytest.mark.parametrize("name", SAMPLERS)
every_space = pytest.mark.parametrize("text", [SMALL, LARGE], ids=["small", "large"])


def space_of(text: str, tmp_path: Path) -> Space:
    path = tmp_path / "space.yaml"
    path.write_text(text)
    return load_space(path, HOST)


def played(name: str, space: Space, count: int, seed: int = 0) -> list[str]:
    """The configurations of a search, as a study does it: every third fails, some break the limit."""
    chosen, seen, found = sampler(name, space, 2, seed), set[str](), list[str]()
    while len(found) < count:
        proposed = chosen.ask(seen) or at_random(space, seen, np.random.default_rng([seed, len(found)]))
        if proposed is None:
            break
        raw, configuration = proposed
        assert configuration.digest not in seen
        assert space.canonical(raw) == configuration
        seen.add(configuration.digest)
        settings = configuration.runtime
        error = float(settings["error"] or 0)
        values = [math.log(float(settings["latency_ms"] or 1)), error]
        failed = len(found) % 3 == 2
        chosen.tell(raw, None if failed else values, {} if failed else {"drop": error - 0.015})
        found.append(configuration.text)
    return found


@every_sampler
@every_space
def test_no_point_twice_and_all_of_the_space(name: str, text: str, tmp_path: Path) -> None:
    """What is proposed is a point of the space that nobody tried; a small space is tried whole and then ends."""
    found = played(name, space_of(text, tmp_path), STARTUP_TRIALS + 25)
    assert len(found) == len(set(found)) == (30 if text == SMALL else STARTUP_TRIALS + 25)


@every_sampler
def test_the_same_seed_proposes_the_same(name: str, tmp_path: Path) -> None:
    """A search can be repeated, and another seed is another search."""
    space = space_of(LARGE, tmp_path)
    assert played(name, space, 16) == played(name, space, 16)
    assert played(name, space, 16) != played(name, space, 16, seed=1)


@every_sampler
def test_what_was_told_is_learnt_from(name: str, tmp_path: Path) -> None:
    """The last ten of forty points are better than the first ten, where it is not drawn at random."""
    space, first, last = space_of(LARGE, tmp_path), list[float](), list[float]()
    for seed in range(3):
        chosen, seen, losses = sampler(name, space, 2, seed), set[str](), list[float]()
        while len(losses) < 40:
            proposed = chosen.ask(seen) or at_random(space, seen, np.random.default_rng([seed, len(losses)]))
            assert proposed is not None
            seen.add(proposed[1].digest)
            time, error = (
                math.log(float(proposed[0]["runtime.latency_ms"] or 1)),
                float(proposed[0]["runtime.error"] or 0),
            )
            chosen.tell(proposed[0], [time, error], {"drop": error - 0.5})
            losses.append(time / math.log(400) + error / 0.9)
        first, last = first + losses[:10], last + losses[-10:]
    assert (np.mean(last) < 0.85 * np.mean(first)) == (name != "random")


def test_what_is_being_measured_promises_nothing_twice(tmp_path: Path) -> None:
    """The model expects less of the next point once it believes what a running one will give."""
    space = space_of(SMALL, tmp_path)

    def expected(*, tells: bool) -> float:
        chosen, seen = sampler("model", space, 2, 0), set[str]()
        for raw, configuration in list(space.points())[::-1][:14]:
            seen.add(configuration.digest)
            time, error = float(raw["runtime.latency_ms"] or 0), float(raw["runtime.error"] or 0)
            chosen.tell(raw, [math.log(time), error], {})
        assert isinstance(chosen, Forecaster)
        first = chosen.ask(seen)
        assert first is not None
        assert chosen.ask({*seen, first[1].digest}, [first[0]] if tells else []) is not None
        assert chosen.expected_gain is not None
        return chosen.expected_gain

    assert expected(tells=True) < 0.8 * expected(tells=False)


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("tpe", "TPESampler", {"n_startup_trials": 10}),
        ("tpe-multivariate", "TPESampler", {"n_startup_trials": 10, "multivariate": True}),
        ("tpe-group", "TPESampler", {"n_startup_trials": 10, "multivariate": True, "group": True}),
        ("nsga2", "NSGAIISampler", {"population_size": 10}),
        ("random", "RandomSampler", {}),
    ],
)
def test_optunas_samplers_are_optunas(
    name: str, kind: str, settings: dict[str, object], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    """A sampler of Optuna proposes what Optuna itself proposes with that seed, and says nothing of experiments."""
    space = space_of(LARGE, tmp_path)
    ours = sampler(name, space, 2, 5)
    assert not list(recwarn)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = optuna.create_study(
            directions=["minimize"] * 2, sampler=getattr(optuna.samplers, kind)(seed=5, **settings)
        )
    for _ in range(25):
        found = ours.ask(set())
        assert found is not None
        trial = theirs.ask(distributions(space))
        assert {**space.fixed, **trial.params} == dict(found[0])
        values = [float(trial.params["runtime.latency_ms"]), float(trial.params["runtime.error"])]
        ours.tell(found[0], values, {"drop": values[1] - 0.5})
        trial.set_constraint("drop", values[1] - 0.5)
        theirs.tell(trial, values)


def test_the_measured_grid_is_whole() -> None:
    """The stored table has every point of its grid: a changed default would make other points of the same text."""
    from benchmarks.sampler_table import TABLE, read_table

    table = read_table(TABLE)
    assert len(table.values) >= 400 and table.whole > 0

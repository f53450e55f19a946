"""What to try next, given what was tried: the samplers, over canonical points that no trial had yet."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from autoopt.core.configuration import Configuration, Scalar, canonical_json
from autoopt.study.space import Dimension, Space
from autoopt.study.surrogate import believed, best_candidate

if TYPE_CHECKING:
    import optuna

REPEATS_BEFORE_RANDOM = 30
"""Draws of a sampler that may be repeats before an unseen point is drawn at random instead."""
RANDOM_DRAWS = 2000
STARTUP_TRIALS = 10
CANDIDATES = 1500
"""Points that the model of a space looks at, each time."""
FRESH = 150
"""Of these, in a large space, at least so many that were never looked at before: to draw all anew takes a second."""
ENUMERATED = 20_000
"""Raw points that may be looked at to find all canonical ones."""

Raw = Mapping[str, Scalar]
Found = tuple[Raw, Configuration]
"""A point of the space, and what it means."""


class Sampler(Protocol):
    """Something that proposes points of a space. A search ends early only where it is a `Forecaster` too."""

    def tell(self, raw: Raw, values: Sequence[float] | None, excess: Mapping[str, float]) -> None:
        """A point with its objectives, all minimised, None where it failed; `excess` is above 0 where a limit is
        broken."""
        ...

    def ask(self, seen: Container[str], pending: Sequence[Raw] = ()) -> Found | None:
        """A point whose configuration's digest is not in `seen`; None where there is nothing to propose.

        `pending` are points whose outcomes will be told later: they are being measured.
        """
        ...


@runtime_checkable
class Forecaster(Sampler, Protocol):
    """A sampler that knows what it expects.

    `expected_gain` is the share of the hypervolume that the best point was expected to add when it was last asked; None
    where that is not known. `noise` is set before it is asked: the difference in each objective that tells no two
    points apart, nothing where that is not known.
    """

    expected_gain: float | None
    noise: Sequence[float]

    def ask(
        self,
        seen: Container[str],
        pending: Sequence[Raw] = (),
        among: Callable[[Configuration], bool] | None = None,
    ) -> Found | None:
        """As that of `Sampler`, of all configurations or `among` some."""
        ...


def sampler(name: str, space: Space, objectives: int, seed: int) -> Sampler:
    """The sampler called `name`, of `SAMPLERS`."""
    return SAMPLERS[name](space, objectives, seed)


class OptunaSampler:
    """A sampler of Optuna, in a study in memory. What it draws again is taken for a failure, or it would repeat it.

    A point that it proposed ends the very trial that it asked for: genetic samplers know their generations by that.
    """

    def __init__(self, space: Space, objectives: int, chosen: optuna.samplers.BaseSampler) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._space, self._distributions = space, distributions(space)
        self._study = optuna.create_study(directions=["minimize"] * objectives, sampler=chosen)
        self._asked: dict[str, optuna.Trial] = {}

    def tell(self, raw: Raw, values: Sequence[float] | None, excess: Mapping[str, float]) -> None:
        """End the trial that was asked for this point, or add one."""
        import optuna

        trial = self._asked.pop(canonical_json(raw), None)
        if trial is None:
            self._study.add_trial(frozen(self._distributions, raw, values, excess))
        elif values is None:
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            for name, value in excess.items():
                trial.set_constraint(name, value)
            self._study.tell(trial, list(values))

    def ask(self, seen: Container[str], pending: Sequence[Raw] = ()) -> Found | None:
        """A point that it draws and nobody tried, within some draws; its study knows what is `pending`."""
        import optuna

        for _ in range(REPEATS_BEFORE_RANDOM if self._distributions else 0):
            trial = self._study.ask(self._distributions)
            raw = {**self._space.fixed, **trial.params}
            configuration = self._space.canonical(raw)
            if configuration.digest not in seen:
                self._asked[canonical_json(raw)] = trial
                return raw, configuration
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return None


class ModelSampler:
    """The study's own: a model of the canonical points, see surrogate.py. The first points are drawn at random."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._rng = space, np.random.default_rng(seed)
        self._told: list[tuple[Raw, list[float], dict[str, float]]] = []
        self._failed: list[Raw] = []
        self._drawn: dict[str, _Point] = {}
        self.expected_gain: float | None = None
        self.noise: Sequence[float] = ()

    def tell(self, raw: Raw, values: Sequence[float] | None, excess: Mapping[str, float]) -> None:
        """Learn from a point."""
        flat = self._space.canonical(raw).flat()
        self._failed = [item for item in self._failed if item != flat]  # it may have been tried again
        if values is None:
            self._failed.append(flat)
        else:
            self._told.append((flat, list(values), dict(excess)))

    def ask(
        self,
        seen: Container[str],
        pending: Sequence[Raw] = (),
        among: Callable[[Configuration], bool] | None = None,
    ) -> Found | None:
        """The unseen point that is worth most by the model, of all or `among` some."""
        self.expected_gain = None
        if len(self._told) < STARTUP_TRIALS:
            return None
        every = self._some_of(seen) if self._whole is None else self._whole
        found = [point for point in every if point.configuration.digest not in seen]
        if among is not None:
            found = [point for point in found if among(point.configuration)]
        if not found:
            return None
        limits = sorted({name for _, _, excess in self._told for name in excess})
        excess = np.array([[item.get(name, 0.0) for name in limits] for _, _, item in self._told])
        values = np.array([item for _, item, _ in self._told])
        known, flat = [flat for flat, _, _ in self._told], [point.flat for point in found]
        awaited = [self._space.canonical(raw).flat() for raw in pending]
        if awaited:
            expected, beyond = believed(known, values, excess, awaited)
            known, values, excess = [*known, *awaited], np.vstack([values, expected]), np.vstack([excess, beyond])
        choice = best_candidate(known, values, excess, self._failed, flat, self._rng, self.noise)
        self.expected_gain = choice.gain
        chosen = found[choice.place]
        return chosen.raw, chosen.configuration

    @cached_property
    def _whole(self) -> list[_Point] | None:
        """All points of a small space."""
        count = self._space.count(ENUMERATED)
        if not count.exact or count.n > CANDIDATES:
            return None
        return [_Point(raw, configuration, configuration.flat()) for raw, configuration in self._space.points()]

    def _some_of(self, seen: Container[str]) -> list[_Point]:
        """Unseen points of a large space: some that are new, and of those that were drawn before the latest."""
        kept = {digest: point for digest, point in self._drawn.items() if digest not in seen}
        for _ in range(max(FRESH, CANDIDATES - len(kept))):
            raw = self._space.random(self._rng)
            configuration = self._space.canonical(raw)
            kept.setdefault(configuration.digest, _Point(raw, configuration, configuration.flat()))
        self._drawn = dict(list(kept.items())[-CANDIDATES:])
        return list(self._drawn.values())


@dataclass(frozen=True)
class _Point:
    raw: Raw
    configuration: Configuration
    flat: Raw


def at_random(
    space: Space,
    seen: Container[str],
    rng: np.random.Generator,
    among: Callable[[Configuration], bool] = lambda configuration: True,
) -> Found | None:
    """An unseen point at random, of all or `among` some; None where every one of them was seen."""
    for _ in range(RANDOM_DRAWS):
        raw = dict(space.random(rng))
        configuration = space.canonical(raw)
        if configuration.digest not in seen and among(configuration):
            return raw, configuration
    for raw, configuration in space.points():
        if configuration.digest not in seen and among(configuration):
            return raw, configuration
    return None


def distributions(space: Space) -> dict[str, Any]:
    """What varies in a space, as Optuna knows it."""
    return {dimension.name: _distribution(dimension) for dimension in space.dimensions if not dimension.fixed}


def frozen(
    known: Mapping[str, Any],
    raw: Raw,
    values: Sequence[float] | None,
    excess: Mapping[str, float],
    attributes: Mapping[str, Any] | None = None,
) -> optuna.trial.FrozenTrial:
    """A finished trial of Optuna at a point; one without values failed."""
    import optuna

    params = {name: raw[name] for name in known if name in raw}
    return optuna.trial.create_trial(
        state=optuna.trial.TrialState.FAIL if values is None else optuna.trial.TrialState.COMPLETE,
        values=None if values is None else list(values),
        params=params,
        distributions={name: known[name] for name in params},
        user_attrs=dict(attributes or {}),
        constraints=None if values is None else dict(excess),
    )


def _distribution(dimension: Dimension) -> Any:
    import optuna

    if dimension.choices:
        return optuna.distributions.CategoricalDistribution(dimension.choices)
    low, high, step = dimension.low, dimension.high, dimension.step
    assert low is not None and high is not None
    if dimension.kind == "integer":
        return optuna.distributions.IntDistribution(int(low), int(high), step=int(step or 1), log=dimension.log)
    return optuna.distributions.FloatDistribution(float(low), float(high), step=step, log=dimension.log)


def optuna_sampler(kind: str, space: Space, objectives: int, seed: int, **settings: Any) -> Sampler:
    """A sampler of Optuna of this class with these settings."""
    import warnings

    import optuna

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        chosen = getattr(optuna.samplers, kind)(seed=seed, **settings)
    return OptunaSampler(space, objectives, chosen)


def _model(space: Space, objectives: int, seed: int) -> Sampler:
    return ModelSampler(space, seed)


_TPE = partial(optuna_sampler, "TPESampler", n_startup_trials=STARTUP_TRIALS)

DEFAULT, RANDOM = "model", "random"

SAMPLERS: Mapping[str, Callable[[Space, int, int], Sampler]] = {
    DEFAULT: _model,
    "tpe": _TPE,
    "tpe-multivariate": partial(_TPE, multivariate=True),
    "tpe-group": partial(_TPE, multivariate=True, group=True),
    "nsga2": partial(optuna_sampler, "NSGAIISampler", population_size=STARTUP_TRIALS),
    RANDOM: partial(optuna_sampler, "RandomSampler"),
}
"""By name; docs/benchmarks.md has how they compare."""

"""What to try next: seeds first, then every point of a small space or what the sampler says, nothing twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from autoopt.core.configuration import Configuration, Scalar
from autoopt.core.records import ARM, CONTROL
from autoopt.study.early_stop import EarlyStop, Noise, Promises
from autoopt.study.levers import Lever, Levers, has
from autoopt.study.quantization_loss import trains
from autoopt.study.samplers import DEFAULT, RANDOM, Forecaster, Found, Sampler, at_random, sampler
from autoopt.study.space import Space, arms, control, seeds

SEED, EXHAUSTIVE, WARM_START = "seed", "exhaustive", "warm-start"
"""What proposes a trial, besides the samplers by their names."""


@dataclass(frozen=True)
class Proposal:
    """What to evaluate next. `raw` is the point of the space, None for a seed outside it; `origin` is what proposed it.

    That is "seed", "warm-start", "arm", "control", "exhaustive" or the name of a sampler; `label` is the name of what
    has one.
    """

    configuration: Configuration
    raw: Mapping[str, Scalar] | None
    origin: str
    label: str = ""


class Proposals:
    """The proposals of one study: knows what was tried and what was put off, and teaches the sampler what came out.

    `seed` is the study's, `done` the number of trials that it has already: a study that is continued draws other
    points than it drew first. `name` is the sampler's, a key of `samplers.SAMPLERS`.
    """

    def __init__(self, space: Space, objectives: int, seed: int, done: int, name: str = DEFAULT) -> None:
        self._space = space
        self._seed = seed
        self._tried: set[str] = set()
        self._postponed: set[str] = set()
        self._pending: dict[str, Mapping[str, Scalar] | None] = {}
        self._done = 0
        self._name, self._objectives = name, objectives
        self._first: Sequence[Found] = ()
        self._levers = Levers(space)
        self._promises = Promises()
        self.noise: Sequence[float] = ()
        """The difference in each objective that tells no two trials apart, see `Forecaster`."""
        self.trains = True
        """Whether the study's own sampler may propose networks that are trained for INT8: see `quantization_loss`."""
        self.early_stop: EarlyStop | None = None
        """Why the last `until` ended before its budget, where nothing more was to be expected."""
        self._sampler = self._new_sampler(done)

    def exhaustive(self, budget: int) -> bool:
        """Whether the whole canonical space, with what is named outside it, fits the budget: then all is tried."""
        count = self._space.count()
        outside = sum(item.raw is None for item in (*seeds(self._space), *arms(self._space)))
        outside += control(self._space, budget) is not None
        return count.exact and count.n + outside <= budget

    def start_with(self, points: Sequence[Found]) -> None:
        """Propose these points right after the seeds."""
        self._first = tuple(points)

    def until(self, budget: int, noise: Noise | None = None) -> Iterator[Proposal]:
        """What to try next, until `budget` trials are told, put off or begun, or nothing new is left.

        Whoever asks for the next one before the last was told begins that first.

        With `noise`, what it moves the hypervolume by, it ends as well where nothing beyond that is to be expected, and
        each value of the large levers had its trial: then `early_stop` says so.
        """
        self.early_stop = None
        listed = self._listed(budget)
        while self._taken < budget and (proposal := next(listed, None)) is not None:
            yield proposal
        if not self.exhaustive(budget):
            yield from self._asked(budget, noise)

    def _listed(self, budget: int) -> Iterator[Proposal]:
        """What no sampler is asked for: seeds, points to start with, arms, the control, and all of a small space."""
        for seed in seeds(self._space):
            if self._is_new(seed.configuration):
                yield Proposal(seed.configuration, seed.raw, SEED, seed.label)
        for raw, configuration in self._first:
            if self._is_new(configuration):
                yield Proposal(configuration, raw, WARM_START)
        for arm in arms(self._space):
            if self._is_new(arm.configuration):
                yield Proposal(arm.configuration, arm.raw, ARM, arm.label)
        one = control(self._space, budget)
        if one is not None and self._is_new(one.configuration):
            yield Proposal(one.configuration, None, CONTROL, one.label)
        for raw, configuration in self._space.points() if self.exhaustive(budget) else ():
            if self._is_new(configuration):
                yield Proposal(configuration, raw, EXHAUSTIVE)

    def _asked(self, budget: int, noise: Noise | None) -> Iterator[Proposal]:
        """What the sampler says, see `until`."""
        while self._taken < budget and (proposal := self._sampled()) is not None:
            small = None if noise is None else self._promises.too_small(noise)
            if small is not None:
                lever = self._of_a_lever()
                if lever is None:
                    self.early_stop = EarlyStop(budget, self._taken, *small)
                    return
                proposal = lever
            yield proposal

    def tell(
        self,
        configuration: Configuration,
        raw: Mapping[str, Scalar] | None,
        values: Sequence[float] | None,
        excess: Mapping[str, float],
    ) -> None:
        """A trial has ended: its objectives, all minimised (None: it failed), and by how much limits are missed.

        `raw` is the point that was proposed, None where it is to be found in the space.
        """
        self._done += 1
        self._tried.add(configuration.digest)
        self._postponed.discard(configuration.digest)
        self._pending.pop(configuration.digest, None)
        self._levers.had(configuration)
        self.correct(configuration, raw, values, excess)

    def correct(
        self,
        configuration: Configuration,
        raw: Mapping[str, Scalar] | None,
        values: Sequence[float] | None,
        excess: Mapping[str, float],
    ) -> None:
        """What came out of another try of a trial that was told before; the arguments are those of `tell`."""
        point = raw if raw is not None else self._space.raw_for(configuration)
        if point is not None:
            self._sampler.tell(point, values, excess)

    def forget_outcomes(self) -> None:
        """Begin with a sampler that knows nothing; what was tried stays tried. `correct` tells it the outcomes anew."""
        self._sampler = self._new_sampler(self._done)

    def begin(self, proposal: Proposal) -> None:
        """It is being measured: it is not proposed again, and has its place in the budget."""
        self._tried.add(proposal.configuration.digest)
        self._pending[proposal.configuration.digest] = proposal.raw

    def postpone(self, proposal: Proposal) -> None:
        """Do not propose it again: whoever puts it off comes back to it. It has its place in the budget."""
        self._pending.pop(proposal.configuration.digest, None)
        self._tried.add(proposal.configuration.digest)
        self._postponed.add(proposal.configuration.digest)

    def _new_sampler(self, done: int) -> Sampler:
        drawn = int(np.random.default_rng([self._seed, done]).integers(2**31))
        return sampler(self._name, self._space, self._objectives, drawn)

    @property
    def _taken(self) -> int:
        return self._done + len(self._postponed.union(self._pending))

    @property
    def _drawn(self) -> int:
        """A number that no two draws have, however many are measured at once."""
        return self._done + len(self._pending)

    @property
    def _awaited(self) -> list[Mapping[str, Scalar]]:
        """The points that are being measured."""
        return [raw for raw in self._pending.values() if raw is not None]

    def _is_new(self, configuration: Configuration) -> bool:
        return configuration.digest not in self._tried

    def _sampled(self) -> Proposal | None:
        forecaster = self._sampler if isinstance(self._sampler, Forecaster) else None
        if forecaster is not None:
            forecaster.noise = self.noise
        if forecaster is None:
            found, origin = self._sampler.ask(self._tried, self._awaited), self._name
        else:
            found, origin = forecaster.ask(self._tried, self._awaited, self._is_worth_a_trial), self._name
        self._promises.add(None if forecaster is None else forecaster.expected_gain)
        if found is None:
            rng = np.random.default_rng([self._seed, self._drawn])
            found, origin = at_random(self._space, self._tried, rng, self._is_worth_a_trial), RANDOM
        if found is None:
            return None
        raw, configuration = found
        return Proposal(configuration, raw, origin)

    def _is_worth_a_trial(self, configuration: Configuration, lever: Lever | None = None) -> bool:
        """Whether the sampler may propose it, where a lever is given only with its value."""
        return (self.trains or not trains(configuration)) and (lever is None or has(configuration, lever))

    def _of_a_lever(self) -> Proposal | None:
        """The most promising new configuration with a value of a large lever that had no trial; None without one."""
        rng = np.random.default_rng([self._seed, self._drawn])
        for lever in self._levers.left:
            assert isinstance(self._sampler, Forecaster)  # it said what it expects
            found = self._sampler.ask(self._tried, self._awaited, partial(self._is_worth_a_trial, lever=lever))
            if found is not None:
                return Proposal(found[1], found[0], self._name)
            for raw, configuration in self._levers.draw(lever, rng):
                if self._is_new(configuration) and self._is_worth_a_trial(configuration):
                    return Proposal(configuration, raw, RANDOM)
            self._levers.give_up(lever)
        return None


class GivenProposals(Proposals):
    """Proposes what is `given`, each configuration once, and nothing else: trials that are measured again."""

    def __init__(self, given: Sequence[Proposal], space: Space, objectives: int) -> None:
        super().__init__(space, objectives, 0, 0, RANDOM)
        self._given = tuple(given)

    def exhaustive(self, budget: int) -> bool:
        """Whether the budget is enough for all of them."""
        return len(self._given) <= budget

    def _listed(self, budget: int) -> Iterator[Proposal]:
        return (proposal for proposal in self._given if self._is_new(proposal.configuration))

    def _asked(self, budget: int, noise: Noise | None) -> Iterator[Proposal]:
        return iter(())

"""What is tried next: seeds, then all or the sampler's, nothing twice, the budget with what was put off."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoopt.study.proposals import Proposal, Proposals
from autoopt.study.space import Space, seeds
from tests.worlds import space_of

SIX = "runtime: {name: fake, precision: f32, threads: 1, latency_ms: [10, 20, 30], error: [0.0, 0.1]}"


@pytest.fixture
def space(tmp_path: Path) -> Space:
    return space_of(tmp_path)


@pytest.fixture
def small(tmp_path: Path) -> Space:
    return space_of(tmp_path, SIX)


def told(proposals: Proposals, budget: int) -> list[Proposal]:
    """All proposals up to a budget, each told as it comes."""
    found = []
    for proposal in proposals.until(budget):
        found.append(proposal)
        proposals.tell(proposal.configuration, proposal.raw, [0.1, -0.9], {})
    return found


def test_seeds_first_then_every_point(small: Space) -> None:
    """A space within the budget is tried whole, each point once, after its seeds."""
    found = told(Proposals(small, 2, 0, 0), 10)
    assert [proposal.origin for proposal in found] == ["seed"] + ["exhaustive"] * 5
    assert found[0].label == seeds(small)[0].label
    assert len({proposal.configuration.digest for proposal in found}) == 6


def test_the_budget_ends_the_seeds_and_the_points(small: Space) -> None:
    """No more is proposed than the budget says, in the seeds, in a whole space and by the sampler."""
    assert told(Proposals(small, 2, 0, 0), 0) == []
    assert len(told(Proposals(small, 2, 0, 0), 1)) == 1
    proposals = Proposals(small, 2, 0, 0)
    first = [next(proposals.until(6))]
    proposals.tell(first[0].configuration, first[0].raw, None, {})
    assert len(told(proposals, 6)) == 5
    assert told(proposals, 6) == []


def test_a_space_is_exhaustive_with_its_seeds(small: Space) -> None:
    """The whole space and the seeds outside it must fit the budget."""
    proposals = Proposals(small, 2, 0, 0)
    assert proposals.exhaustive(6)
    assert not proposals.exhaustive(5)


def test_the_sampler_proposes_what_is_new(space: Space) -> None:
    """A larger space is sampled: points of it, none twice, and another seed draws others."""
    found = told(Proposals(space, 2, 0, 0, "random"), 20)
    assert {proposal.origin for proposal in found[1:]} == {"random"}
    assert len({proposal.configuration.digest for proposal in found}) == 20
    others = told(Proposals(space, 2, 1, 0, "random"), 20)
    assert [p.configuration for p in found] != [p.configuration for p in others]
    again = told(Proposals(space, 2, 0, 0, "random"), 20)
    assert [p.configuration for p in found] == [p.configuration for p in again]


def test_a_continued_study_draws_other_points(space: Space) -> None:
    """The number of trials that are there is part of the seed: a second command draws no point of the first again."""
    first, second = (told(Proposals(space, 2, 0, done, "random"), 12)[1:] for done in (0, 30))
    assert [p.configuration for p in first] != [p.configuration for p in second]


def test_what_is_put_off_has_its_place_in_the_budget(small: Space) -> None:
    """A postponed proposal is not proposed again, and counts, until it is told."""
    proposals = Proposals(small, 2, 0, 0)
    waiting = next(proposals.until(6))
    proposals.postpone(waiting)
    assert len(told(proposals, 5)) == 4
    proposals.tell(waiting.configuration, waiting.raw, [0.1, -0.9], {})
    assert len(told(proposals, 6)) == 1


def test_when_the_sampler_is_out_of_ideas_points_are_drawn(space: Space) -> None:
    """Every point of a space is found in the end, also where the sampler only repeats itself; then it ends."""
    found = told(Proposals(space, 2, 0, 0, "random"), 47)
    assert len(found) == 47
    proposals = Proposals(space, 2, 0, 0, "random")
    for _, configuration in space.points():
        proposals.tell(configuration, None, None, {})
    assert list(proposals.until(1000)) == []


def test_the_sampler_is_taught_points_of_the_space_only(space: Space, small: Space) -> None:
    """What lies outside the space is tried, but teaches the sampler nothing; a failure is taught as one."""

    class Pupil:
        def __init__(self) -> None:
            self.told: list[object] = []

        def tell(self, raw: object, values: object, excess: object) -> None:
            self.told.append((values, excess))

        def ask(self, seen: object, pending: object = ()) -> None:
            return None

    proposals = Proposals(small, 2, 0, 0)
    pupil = Pupil()
    proposals._sampler = pupil
    outside = next(configuration for _, configuration in space.points() if small.raw_for(configuration) is None)
    inside = next(configuration for _, configuration in small.points())
    proposals.tell(outside, None, [1.0, 2.0], {"drop": 1.0})
    proposals.tell(inside, None, None, {})
    assert pupil.told == [(None, {})]


def test_what_is_being_measured_is_not_proposed_again(space: Space) -> None:
    """With four trials at once all proposals differ, also drawn ones, and the budget counts those that run."""
    proposals = Proposals(space, 2, 0, 0, "random")
    found: list[Proposal] = []
    for proposal in proposals.until(12):
        proposals.begin(proposal)
        found.append(proposal)
        if len(found) % 4 == 0:
            proposals.tell(found[-4].configuration, found[-4].raw, (1.0, 1.0), {})
    assert len(found) == len({proposal.configuration.digest for proposal in found}) == 12


def test_what_is_put_off_while_it_runs_keeps_its_place(small: Space) -> None:
    """A trial that was begun and then put off counts once, until it is told."""
    proposals = Proposals(small, 2, 0, 0)
    proposal = next(proposals.until(2))
    proposals.begin(proposal)
    proposals.postpone(proposal)
    second = next(proposals.until(2))
    proposals.begin(second)
    assert list(proposals.until(2)) == []
    assert second.configuration != proposal.configuration


def test_the_sampler_is_told_what_is_being_measured(space: Space) -> None:
    """Points that were begun and not told yet are what the sampler is given as pending; others are not."""

    class Listener:
        pending: list[object]

        def tell(self, raw: object, values: object, excess: object) -> None:
            pass

        def ask(self, seen: object, pending: object = ()) -> None:
            assert isinstance(pending, list)
            self.pending = pending

    proposals, listener = Proposals(space, 2, 0, 0, "random"), Listener()
    told(proposals, len(seeds(space)))
    proposals._sampler = listener
    first = next(proposals.until(30))
    proposals.begin(first)
    second = next(proposals.until(30))
    assert listener.pending == [first.raw] and second.raw not in listener.pending
    proposals.tell(first.configuration, first.raw, [0.1, -0.9], {})
    next(proposals.until(30))
    assert listener.pending == []

"""A planted study on the fake runtime: throughput, energy, memory, size, quality and every limit have known answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import pytest

from autoopt.core import pareto
from autoopt.core.configuration import Scalar
from autoopt.core.records import Status, TrialRecord
from autoopt.deploy.pick import choose
from autoopt.errors import NothingFits
from autoopt.study.limit_arguments import LimitArguments
from autoopt.study.loop import search
from autoopt.study.proposals import Proposal
from autoopt.study.request import SearchRequest
from autoopt.study.result import StudyResult
from tests import tiny
from tests.targets import RecordingTarget
from tests.worlds import REFERENCE_S, World, settings_of

pytest.importorskip("torch")

THREADS, LATENCIES_MS, ERRORS = (1, 2), (10, 20, 40, 80), (0.0, 0.02, 0.1)
SPACE = f"""
runtime:
  name: fake
  precision: f32
  threads: {list(THREADS)}
  latency_ms: {list(LATENCIES_MS)}
  error: {list(ERRORS)}
"""


@dataclass(frozen=True)
class Truth:
    """What a trial with these settings really is: calls do not get faster with threads, but as many run at once."""

    threads: int
    latency_ms: float
    error: float

    @classmethod
    def of(cls, settings: Mapping[str, Scalar]) -> Truth:
        return cls(*(float(settings[name] or 0) for name in ("threads", "latency_ms", "error")))  # type: ignore[arg-type]

    @property
    def numbers(self) -> dict[str, float]:
        """In SI units, by the name of the objective."""
        return {
            "latency": self.latency_ms / 1e3,
            "throughput": 1e3 * self.threads / self.latency_ms,
            "energy": 1.0 / self.latency_ms + 0.1 * self.threads,
            "memory": 1e8 * self.threads + 1e6 * self.latency_ms,
            "size": 1e6 * (1 + 50 * self.error),
            "quality": 0.9 - self.error,
        }


class PlantedWorld(World):
    """Trials that measure exactly what is true of them."""

    def run(self, proposal: Proposal, study: StudyResult) -> TrialRecord:
        record = super().run(proposal, study)
        assert record.measurement is not None
        truth = Truth.of(settings_of(record)).numbers
        turns = ((1 / truth["throughput"],),) * 2
        measured = replace(
            record.measurement,
            energy_j=truth["energy"],
            peak_rss_bytes=int(truth["memory"]),
            artifact_bytes=int(truth["size"]),
            concurrent_s=(turns,),
            concurrent_reference_s=(((REFERENCE_S,),) * 2,),
            concurrent_requests=int(settings_of(record).get("threads") or 1),
        )
        return replace(record, measurement=measured)


Search = Callable[..., StudyResult]


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Search:
    """Searches the planted space; the arguments are facts of the request."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "space.yaml").write_text(SPACE)
    weights = tiny.weights(folder / "tiny.safetensors")

    def run(**facts: Any) -> StudyResult:
        given = {"budget": 100, "max_drop": 0.5, "objectives": ("throughput", "energy", "quality"), **facts}
        request = SearchRequest(
            tiny.SOURCE, weights=weights, space=str(folder / "space.yaml"), home=folder / "home", **given
        )
        return search(request, runner=PlantedWorld(), target=RecordingTarget(folder / "target")).study

    return run


@pytest.fixture(scope="module")
def whole(planted: Search) -> StudyResult:
    """The study of the whole space."""
    return planted(sampler="random")


def all_truths() -> list[Truth]:
    return [Truth(*values) for values in product(THREADS, LATENCIES_MS, ERRORS)]


def true_front(objectives: tuple[str, ...], keeps: Any = lambda numbers: True) -> set[Truth]:
    """The front of what is true, by another way than the study's: no logarithms, no records."""
    fitting = [truth for truth in all_truths() if keeps(truth.numbers)]
    signs = {name: -1 if name in ("throughput", "quality") else 1 for name in objectives}
    points = [[signs[name] * truth.numbers[name] for name in objectives] for truth in fitting]
    return {truth for truth, keep in zip(fitting, pareto.front(points), strict=True) if keep}


def found(records: tuple[TrialRecord, ...]) -> set[Truth]:
    return {Truth.of(settings_of(record)) for record in records}


@pytest.mark.parametrize(
    "objectives",
    [
        ("throughput", "quality"),
        ("energy", "throughput"),
        ("throughput", "energy", "quality"),
        ("throughput", "memory", "size", "energy"),
    ],
)
def test_the_front_is_the_true_one(whole: StudyResult, objectives: tuple[str, ...]) -> None:
    """Searched to its end, the front in any objectives is the planted one: more throughput is better, less energy."""
    study = replace(whole, card=replace(whole.card, objectives=objectives))
    assert len(study.records) == len(all_truths())
    assert found(study.front) == true_front(objectives)
    points = study.log_points(study.front)
    assert np.isfinite(points).all()
    if "throughput" in objectives:
        column = list(objectives).index("throughput")
        rates = [Truth.of(settings_of(record)).numbers["throughput"] for record in study.front]
        assert points[:, column] == pytest.approx(-np.log(rates), rel=1e-3)


LIMITS: list[tuple[dict[str, Any], Any]] = [
    ({"max_drop": 0.05}, lambda n: n["quality"] >= 0.85),
    ({"max_drop": "4%"}, lambda n: n["quality"] >= 0.9 * 0.96),
    ({"max_drop": "2%"}, lambda n: n["quality"] >= 0.9 * 0.98),
    ({"min_quality": 0.87}, lambda n: n["quality"] >= 0.87),
    ({"max_latency_s": 0.025}, lambda n: n["latency"] <= 0.025),
    ({"max_memory_bytes": 150_000_000}, lambda n: n["memory"] <= 1.5e8),
    ({"max_size_bytes": 2_000_000}, lambda n: n["size"] <= 2e6),
    ({"min_throughput": 60.0}, lambda n: n["throughput"] >= 60),
    (
        {"min_throughput": 20.0, "max_memory_bytes": 130_000_000, "min_quality": 0.87},
        lambda n: n["throughput"] >= 20 and n["memory"] <= 1.3e8 and n["quality"] >= 0.87,
    ),
]


@pytest.mark.parametrize(("given", "keeps"), LIMITS, ids=lambda item: "" if callable(item) else "-".join(item))
def test_every_limit_lets_in_what_keeps_it(whole: StudyResult, given: dict[str, Any], keeps: Any) -> None:
    """Each limit and a few together leave exactly the trials that keep them, and `pull` picks of those."""
    limited = replace(whole, card=replace(whole.card, limits=LimitArguments(**given).limits()))
    assert found(limited.complete) == {truth for truth in all_truths() if keeps(truth.numbers)}
    assert found(limited.front) == true_front(whole.card.objectives, keeps)
    choice = choose(whole, pick="fastest", **given)
    assert choice.record.number in {record.number for record in limited.front}


def test_a_search_judges_by_its_limits(planted: Search) -> None:
    """What is searched with several limits is stored with them and has the front of the trials that keep them; the
    sampler learns by how much each is missed."""
    given, keeps = LIMITS[-1]
    study = planted(sampler="random", seed=1, **given)
    assert set(study.card.limits) == {"drop", "concurrent_per_s", "memory_bytes", "quality"}
    assert found(study.front) == true_front(study.card.objectives, keeps)


def test_what_nobody_keeps_is_told_with_the_nearest(whole: StudyResult) -> None:
    """A throughput that no trial has: the option that lets the best one in is named, and it lets it in."""
    with pytest.raises(NothingFits, match=r"throughput \(lower bound\) binds, with --min-throughput 1\d\d #") as raised:
        choose(whole, min_throughput=1000.0)
    least = float(str(raised.value).partition("--min-throughput ")[2].split()[0])
    best = choose(whole, min_throughput=least).record
    assert Truth.of(settings_of(best)).numbers["throughput"] == 200


def test_what_was_not_measured_has_no_place(whole: StudyResult) -> None:
    """A trial whose energy could not be read is unknown where energy is an objective, and on the front of no study."""
    lost = whole.front[0]
    without = replace(lost, measurement=replace(lost.measured, energy_j=None))
    study = StudyResult(whole.card, tuple(without if r.number == lost.number else r for r in whole.records))
    assert [record.number for record in study.judged if record.status is Status.UNKNOWN] == [lost.number]
    assert lost.number not in {record.number for record in study.front}


def test_the_sampler_finds_the_throughput(planted: Search) -> None:
    """Of half the space the model finds what answers most calls a second without a loss, as it would the fastest."""
    study = planted(budget=12, seed=2, objectives=("throughput", "quality"))
    assert Truth(2, 10, 0.0) in found(study.front)
    assert {record.status for record in study.judged} == {Status.COMPLETE}

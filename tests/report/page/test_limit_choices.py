"""What the sliders of a report pick."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from random import Random

import pytest

from autoopt.deploy.pick import choose
from autoopt.deploy.policies import PICKS
from autoopt.errors import NothingFits
from autoopt.options import duration, largest_drop
from autoopt.report.page.limit_choices import MOST_STOPS, Stop, choices
from autoopt.study.result import StudyResult
from tests.report.page.planted import planted_study


def pulled(study: StudyResult, latency: Stop, drop: Stop, pick: str) -> int | None:
    """What the command picks, from its options as they are typed."""
    typed = [stop.option.split(" ")[1] for stop in (latency, drop)]
    most_s, most = duration(typed[0], "--max-latency"), largest_drop(typed[1], "--max-drop")
    try:
        return choose(study, pick=pick, max_latency_s=most_s, max_drop=most).record.number
    except NothingFits:
        return None


LIMITS: list[Mapping[str, float]] = [
    {"drop": 0.03},
    {},
    {"relative_drop": 0.04, "latency_s": 0.02, "size_bytes": 2.5e6},
]


@pytest.mark.parametrize("limits", LIMITS)
def test_the_sliders_pick_what_pull_picks(limits: Mapping[str, float]) -> None:
    """Over the places of both sliders and the policies the trial is the one that `autoopt pull` takes."""
    study = planted_study(30, limits=limits)
    found = choices(study)
    assert found is not None and set(found.picked) == set(PICKS)
    told, chosen = set(), Random(0)
    for place, latency in list(enumerate(found.latencies))[::3]:
        for other, drop in list(enumerate(found.drops))[::3]:
            pick = chosen.choice(PICKS)  # one for each place: all would take long
            number = found.picked[pick][place][other]
            assert number == pulled(study, latency, drop, pick), (latency, drop, pick)
            told.add(number)
    assert len(told) > 3


def test_a_limit_that_the_study_has_is_where_the_sliders_begin() -> None:
    """The sliders begin at the study's own limits, where they pick what `autoopt pull` picks without any."""
    study = planted_study(30, limits={"drop": 0.01, "latency_bound_s": 0.03})
    found = choices(study)
    assert found is not None
    latency, drop = found.own
    assert (found.latencies[latency].bound, found.drops[drop].bound) == (0.03, 0.01)
    assert found.picked["balanced"][latency][drop] == choose(study, pick="balanced").record.number


def test_many_trials_make_few_stops_and_none_makes_none() -> None:
    """A slider has at most 24 stops and its study's limit; without a reference no drop is known and there is none."""
    found = choices(planted_study(200))
    assert found is not None and max(len(found.latencies), len(found.drops)) <= MOST_STOPS + 1
    study = planted_study(12)
    assert choices(replace(study, records=study.records[3:7])) is None


def test_less_may_be_better() -> None:
    """Of an error the drop is limited as a share of the reference's value, as `autoopt pull` limits it."""
    study = planted_study(20, less_is_better=True)
    found = choices(study)
    assert found is not None and all(stop.option.endswith("%") for stop in found.drops)


def test_a_limit_that_is_a_share_is_moved_as_a_share() -> None:
    """Of a study whose drop is limited as a percentage the slider begins at that, and picks what `pull` picks."""
    study = planted_study(30, limits={"relative_drop": 0.012})
    found = choices(study)
    assert found is not None and all(stop.option.endswith("%") for stop in found.drops)
    latency, drop = found.own
    assert found.drops[drop].option == "--max-drop 1.2%"
    assert found.picked["balanced"][latency][drop] == choose(study, pick="balanced").record.number
    assert found.picked["balanced"][latency][drop] != found.picked["balanced"][latency][-1]

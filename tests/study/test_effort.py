"""The steps of trainings follow from what they cost here and from the time there is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autoopt.core.records import Status, TrialRecord
from autoopt.measure.undisturbed import Timed
from autoopt.study.effort import OF_TIME, SHARES, USUAL_S, fitting, planned, with_share
from autoopt.study.plan import training_seconds
from autoopt.study.prepare import Prepared, prepare
from autoopt.study.request import SearchRequest
from tests import tiny

pytest.importorskip("torch")


def prepared_of(home: Path, **facts: Any) -> Prepared:
    home.mkdir(parents=True, exist_ok=True)
    weights = tiny.weights(home / "tiny.safetensors")
    return prepare(SearchRequest(tiny.SOURCE, budget=50, weights=weights, home=home, **{"space": "default", **facts}))


def never() -> Timed:
    raise AssertionError("a call was timed although nothing depends on it")


def test_cheap_trainings_are_left_as_they_are(tmp_path: Path) -> None:
    """Where all trainings fit the time, the space is the shipped one, and nothing is said."""
    prepared, said = prepared_of(tmp_path), list[str]()
    assert fitting(prepared, (), lambda: Timed(1e-4), on_remark=said.append) == prepared.space
    assert said == []


@pytest.mark.parametrize("time_s", [None, 600.0, 7200.0])
def test_dear_trainings_are_shortened_until_they_fit(tmp_path: Path, time_s: float | None) -> None:
    """All are shortened alike, no more than the time asks for, and the user is told what they would have taken."""
    prepared, said = prepared_of(tmp_path, time_s=time_s), list[str]()
    most_s = USUAL_S if time_s is None else OF_TIME * time_s
    call_s = 2.6 * most_s / training_seconds(prepared, 1.0)
    found = fitting(prepared, (), lambda: Timed(call_s), on_remark=said.append)
    share = next(share for share in SHARES if found == with_share(prepared.space, share))
    steps = found.dimension("prune.steps")
    assert steps is not None and steps.choices == (round(120 * share),)
    fitting_shares = [
        item
        for item in SHARES
        if training_seconds(replace(prepared, space=with_share(prepared.space, item)), call_s) <= most_s
    ]
    assert share == max(fitting_shares, default=SHARES[-1]) < 1
    assert len(said) == 1 and f"{2.6 * most_s / 60:.0f} min here" in said[0] and "--time" in said[0]


def test_the_most_that_is_done_is_to_shorten_to_an_eighth(tmp_path: Path) -> None:
    """Trainings that do not fit at all still have a share of their steps."""
    prepared = prepared_of(tmp_path)
    found = fitting(prepared, (), lambda: Timed(1e6), on_remark=lambda text: None)
    assert found == with_share(prepared.space, SHARES[-1])


def test_a_space_of_ones_own_is_done_as_it_is(tmp_path: Path) -> None:
    """What a user's file says is not shortened, and no call is timed for it; nor for a space without trainings."""
    own = tmp_path / "own.yaml"
    own.write_text("prune: {ratio: [null, 0.5], steps: 100000}\nruntime: {name: openvino}\n")
    prepared = prepared_of(tmp_path / "a", space=str(own))
    assert fitting(prepared, (), never) == prepared.space
    prepared = prepared_of(tmp_path / "b", space="int8")
    assert fitting(prepared, (), never) == prepared.space


def test_a_study_goes_on_with_the_steps_that_it_has(tmp_path: Path) -> None:
    """However long a call takes today, the trials that are stored say which share of the steps they had."""
    prepared = prepared_of(tmp_path)
    quarter = with_share(prepared.space, 0.25)
    trained = next(item for _, item in quarter.points() if item.section("prune") is not None)
    known = [TrialRecord(trained, Status.COMPLETE, 5)]
    assert fitting(prepared, known, never) == quarter


def test_a_plan_is_of_the_trainings_that_are_done(tmp_path: Path) -> None:
    """What a plan says follows the shortened trainings, and its network is timed once."""
    prepared, asked = prepared_of(tmp_path), list[Prepared]()

    def timed(of: Prepared) -> Timed:
        asked.append(of)
        return Timed(2.5 * USUAL_S / training_seconds(prepared, 1.0))

    assert planned(prepared, time_call=timed).seconds < 2.0 * USUAL_S
    assert len(asked) == 1

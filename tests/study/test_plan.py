"""What a search would cost, before it is begun."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import autoopt
from autoopt import terminal
from autoopt.core.records import Status, TrialRecord
from autoopt.core.store import Store
from autoopt.study.plan import SearchPlan, plan_search, seconds_left, timed_call_s
from autoopt.study.prepare import Prepared, prepare
from autoopt.study.request import SearchRequest
from autoopt.workloads.loading import load_workload
from tests import tiny

pytest.importorskip("torch")

SPACE = """
prune: {{ratio: [null, 0.25, 0.5], rungs: "0.25", steps: {steps}, unit: {unit}, batch: {batch}}}
quantize: {{scheme: [null, int8], tool: nncf, keep_float: [0, 1]}}
runtime: {{name: onnxruntime, threads: 1, spinning: false}}
"""


def request_of(home: Path, steps: int, unit: str = "steps", batch: int = 2, **facts: Any) -> SearchRequest:
    home.mkdir(parents=True, exist_ok=True)
    space = home / f"{steps}-{unit}.yaml"
    space.write_text(SPACE.format(steps=steps, unit=unit, batch=batch))
    weights = tiny.weights(home / "tiny.safetensors")
    return SearchRequest(tiny.SOURCE, budget=50, space=str(space), weights=weights, home=home, **facts)


def planned(home: Path, steps: int, unit: str = "steps", batch: int = 2, **facts: Any) -> SearchPlan:
    """The plan where a call of the network takes a tenth of a second."""
    return plan_search(prepare(request_of(home, steps, unit, batch, **facts)), call_s=lambda prepared: 0.1)


def test_every_artifact_is_counted_once(tmp_path: Path) -> None:
    """A rung serves all ratios above it; each network is exported once, ranked once, quantized in each way once."""
    plan = planned(tmp_path, steps=10)
    assert plan.artifacts == {"export": 4, "prune": 2, "sensitivity": 3, "quantize": 6}
    assert not plan.measured_here


def test_training_is_paid_by_its_steps(tmp_path: Path) -> None:
    """Ten times the steps are more seconds, by what a call of the network takes and what the rungs leave of it.

    The whole network is asked once a view, however many trainings look at it.
    """
    few, many = planned(tmp_path, steps=100), planned(tmp_path, steps=1000)
    views = min(2 * (1000 * 2 + 150), 2048) - 2 * (100 * 2 + 150)
    assert many.seconds - few.seconds == pytest.approx(900 * 2 * 3 * 0.1 * (0.75**2 + 0.5**2) + views * 0.1)


def test_an_epoch_is_paid_by_its_steps(tmp_path: Path) -> None:
    """An epoch of three cases of which one is held out, four at a time, is half a step."""
    assert planned(tmp_path, 300, "epochs", batch=4).seconds == planned(tmp_path, 150, batch=4).seconds


def test_what_was_made_here_says_what_more_will_cost(tmp_path: Path) -> None:
    """Once a network was recovered and a graph exported in this store, these seconds count."""
    before = planned(tmp_path, steps=300)
    name, store = load_workload(tiny.SOURCE, None, tmp_path).name, Store(tmp_path / "store")
    settings = {"steps": 50, "batch": 2}
    pruned = {"recovery": {}, "macs_left": 0.25}
    for stage, seconds, report in (("prune", 5.0, pruned), ("export", 1.0, {}), ("export", 3.0, {})):
        made_by = {"stage": stage, "settings": settings, "workload": {"name": name}}
        key = f"{stage}{seconds:g}".ljust(64, "0")
        store.put("model", key, made_by, lambda folder, seconds=seconds, report=report: {**report, "seconds": seconds})
    after = planned(tmp_path, steps=300)
    call_s = 5.0 / (3 * 0.25 * (50 * 2 + 150))
    expected = 3 * (0.75**2 + 0.5**2) * (300 * 2 + 150) * (call_s - 0.1) + 4 * (2.0 - 5.0)
    assert after.seconds - before.seconds == pytest.approx(expected)


def test_what_a_study_has_made_is_not_to_come(tmp_path: Path) -> None:
    """After the trial of the upper rung its trainings and its export are over, and so is the time of one trial."""
    plan = planned(tmp_path, steps=100)
    prepared = prepare(request_of(tmp_path, steps=100))
    pruned = next(
        found
        for _, found in prepared.space.points()
        if found.section("prune") and not found.section("quantize") and "0.5" in found.text
    )
    before = seconds_left(prepared, ())
    after = seconds_left(prepared, [TrialRecord(pruned, Status.COMPLETE, 0)])
    assert before == plan.seconds - 20.0
    training = 3 * 0.1 * (0.75**2 + 0.5**2) * (100 * 2 + 150)
    views = 2 * (100 * 2 + 150) * 0.1
    per_trial_before = 8.0  # no trial of it was timed here: its seconds are 0, and the median with them
    assert before - after == pytest.approx(per_trial_before * plan.trials_to_run + 3 * 5.0 + training + views)


def test_a_call_is_timed_only_where_something_is_trained(tmp_path: Path) -> None:
    """The network is called in the maker process for a plan with trainings; any other plan starts no process."""
    asked: list[float] = []

    def timed(prepared: Prepared) -> float:
        asked.append(timed_call_s(prepared))
        return asked[-1]

    plan_search(prepare(request_of(tmp_path, steps=10)), call_s=timed)
    assert len(asked) == 1 and asked[0] > 0
    space = tmp_path / "float.yaml"
    space.write_text("runtime: {name: onnxruntime, threads: [1, 2]}")
    request = SearchRequest(tiny.SOURCE, space=str(space), weights=tmp_path / "tiny.safetensors", home=tmp_path)
    plan_search(prepare(request), call_s=timed)
    assert len(asked) == 1


def test_a_plan_is_of_the_request_of_the_search(tmp_path: Path) -> None:
    """`autoopt.plan` takes the request of a search: limits are in its card, sampler and time in the plan."""
    facts: dict[str, Any] = {"max_latency_s": 0.02, "guards": {"worst_decile": 0.1}, "sampler": "tpe", "time_s": 60.0}
    request = replace(request_of(tmp_path, steps=10, **facts), space="quick")
    plan = autoopt.plan(request, max_drop=None)
    assert plan.card.limits == {"latency_s": 0.02, "worst_decile": 0.1}
    assert (plan.sampler, plan.time_s) == ("tpe", 60.0)


def test_a_plan_says_when_the_time_is_up_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--time` the plan still says what the whole budget takes, and that the search stops earlier."""
    terminal.plan(planned(tmp_path, steps=1000, time_s=30.0))
    assert "but --time stops it after 30.0 s" in capsys.readouterr().out
    terminal.plan(planned(tmp_path, steps=1000, time_s=36000.0))
    assert "--time" not in capsys.readouterr().out

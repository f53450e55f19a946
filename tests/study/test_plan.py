"""What a search would cost, before it is begun."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import autoopt
from autoopt import terminal
from autoopt.core.records import Status, TrialRecord
from autoopt.core.store import Store
from autoopt.measure.undisturbed import Timed
from autoopt.study.plan import SearchPlan, plan_search, seconds_left, timed_call
from autoopt.study.prepare import Prepared, prepare
from autoopt.study.proposals import Proposal
from autoopt.study.request import SearchRequest
from autoopt.study.study import open_study
from autoopt.workloads.loading import load_workload
from tests import tiny
from tests.worlds import measured, scored

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
    return plan_search(prepare(request_of(home, steps, unit, batch, **facts)), time_call=lambda prepared: Timed(0.1))


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
    asked: list[Timed] = []

    def timed(prepared: Prepared) -> Timed:
        asked.append(timed_call(prepared))
        return asked[-1]

    plan_search(prepare(request_of(tmp_path, steps=10)), time_call=timed)
    assert len(asked) == 1 and asked[0].wall_s > 0 and asked[0].cpu_s
    space = tmp_path / "float.yaml"
    space.write_text("runtime: {name: onnxruntime, threads: [1, 2]}")
    request = SearchRequest(tiny.SOURCE, space=str(space), weights=tmp_path / "tiny.safetensors", home=tmp_path)
    plan_search(prepare(request), time_call=timed)
    assert len(asked) == 1


def test_a_call_that_was_timed_on_a_busy_host_is_not_believed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A network that took twenty times its time while others had 95 % of the cores makes the plan of a quiet host.

    The plan says so, with the time that it takes if the host stays as busy; of a quiet host it says nothing.
    """
    prepared = prepare(request_of(tmp_path, steps=1000))
    quiet = plan_search(prepared, time_call=lambda prepared: Timed(0.1, 0.01, 0.1))
    busy = plan_search(prepared, time_call=lambda prepared: Timed(2.0, 0.95, 0.15))
    assert busy.seconds == pytest.approx(quiet.seconds)
    assert busy.busy_s > 10 * busy.seconds and quiet.busy_s == quiet.seconds
    terminal.plan(busy)
    assert "it was busy when this was timed, and " in capsys.readouterr().out
    terminal.plan(quiet)
    assert "busy" not in capsys.readouterr().out


def timed_trials(prepared: Prepared, facts: list[tuple[float, float, float]]) -> list[TrialRecord]:
    """Trials that took so many seconds on a host that was so many times slower, and of which others took a share."""
    points = [configuration for _, configuration in prepared.space.points()]
    return [
        TrialRecord(
            points[place],
            Status.COMPLETE,
            place,
            measurement=replace(measured(0.01, slower=slower), foreign_share=taken),
            quality=scored(0.9),
            seconds={"measure": seconds},
        )
        for place, (seconds, slower, taken) in enumerate(facts)
    ]


def test_trials_that_met_a_busy_host_do_not_say_how_long_others_take(tmp_path: Path) -> None:
    """One quiet trial is believed over busy ones; where all were busy, their reference and their load correct them."""

    def plan(*facts: tuple[float, float, float]) -> SearchPlan:
        prepared = prepare(request_of(tmp_path, steps=10, study=f"{facts}"))
        with open_study(prepared.storage_url, prepared.card, prepared.space) as study:
            for record in timed_trials(prepared, list(facts)):
                study.tell(Proposal(record.configuration, None, record.origin), record)
        return plan_search(prepared, time_call=lambda prepared: Timed(0.1))

    quiet = plan(*[(10.0, 1.0, 0.0)] * 4)
    mixed = plan((40.0, 4.0, 0.0), (40.0, 4.0, 0.0), (40.0, 1.0, 0.75), (10.0, 1.0, 0.0))
    assert mixed.seconds == pytest.approx(quiet.seconds) and mixed.busy_s > 2 * mixed.seconds
    busy = plan(*[(20.0, 1.0, 0.5)] * 4)
    assert busy.seconds == pytest.approx(quiet.seconds)
    assert busy.busy_s - busy.seconds == pytest.approx(10.0 * busy.trials_to_run)
    slow = plan(*[(20.0, 1.0, 0.0)] * 4)
    assert slow.seconds == slow.busy_s > quiet.seconds, "a host that nobody disturbs is as slow as it is"


def test_the_time_left_is_that_of_the_host_as_it_is_now(tmp_path: Path) -> None:
    """While a search runs, what is left is estimated for a host that stays as busy as beside the last trials."""
    prepared = prepare(request_of(tmp_path, steps=10))
    busy, quiet = (40.0, 4.0, 0.0), (10.0, 1.0, 0.0)
    relieved = seconds_left(prepared, timed_trials(prepared, [busy, busy, quiet, quiet, quiet]))
    disturbed = seconds_left(prepared, timed_trials(prepared, [quiet, quiet, busy, busy, busy]))
    assert disturbed == pytest.approx(4 * relieved, rel=0.01)


def test_what_was_made_on_a_busy_host_is_corrected(tmp_path: Path) -> None:
    """An artifact that took ten seconds while others had half of the cores counts as five."""
    name, store = load_workload(tiny.SOURCE, None, tmp_path).name, Store(tmp_path / "store")

    def after(seconds: float, taken: float) -> float:
        made_by = {"stage": "export", "settings": {}, "workload": {"name": name}}
        key = f"export{seconds:g}".ljust(64, "0")
        store.put("model", key, made_by, lambda folder: {"seconds": seconds, "taken": taken})
        found = planned(tmp_path, steps=300).seconds
        shutil.rmtree(store.root)
        return found

    assert after(10.0, 0.5) == pytest.approx(after(5.0, 0.0))


def test_a_plan_is_of_the_request_of_the_search(tmp_path: Path) -> None:
    """`autoopt.plan` takes the request of a search: limits are in its card, sampler and time in the plan."""
    facts: dict[str, Any] = {"max_latency_s": 0.02, "guards": {"worst_decile": 0.1}, "sampler": "tpe", "time_s": 60.0}
    request = replace(request_of(tmp_path, steps=10, **facts), space="quick")
    plan = autoopt.plan(request, max_drop=None)
    assert plan.card.limits == {"latency_bound_s": 0.02, "worst_decile": 0.1}
    assert (plan.sampler, plan.time_s) == ("tpe", 60.0)


def test_a_plan_says_when_the_time_is_up_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With `--time` the plan still says what the whole budget takes, and that the search stops earlier."""
    terminal.plan(planned(tmp_path, steps=1000, time_s=30.0))
    assert "but --time stops it after 30.0 s" in capsys.readouterr().out
    terminal.plan(planned(tmp_path, steps=1000, time_s=36000.0))
    assert "--time" not in capsys.readouterr().out

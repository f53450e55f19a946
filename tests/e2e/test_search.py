"""`autoopt search` and its neighbours, end to end on the fake runtime: everything but torch is real."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest

from autoopt.core.records import Status
from autoopt.study.storage import read_study
from tests import tiny
from tests.e2e.helpers import SPACE, project, run, start
from tests.postgresql import cluster


def storage(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlruns' / 'study.db'}"


def mlflow_runs(folder: Path) -> list[mlflow.entities.Run]:
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}")
    ids = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(ids, max_results=1000))


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the whole small space was searched once."""
    folder = tmp_path_factory.mktemp("searched")
    done = run("search", *project(folder), "--budget", "20", "--max-drop", "0.01")
    assert done.returncode == 0, done.stderr
    (folder / "out.txt").write_text(done.stdout)
    (folder / "err.txt").write_text(done.stderr)
    return folder


def test_search_shows_the_front_and_the_next_commands(searched: Path) -> None:
    """The output names the front, says that the search was exhaustive, where the time went and what to do next."""
    out = (searched / "out.txt").read_text()

    for words in (
        "Pareto front of tiny",
        "exhaustive",
        "Time:",
        "make",
        "measure",
        "score",
        "autoopt pull",
        "autoopt ui",
        "the report, in a browser",
    ):
        assert words in out


def test_search_says_what_is_left_after_every_trial(searched: Path) -> None:
    """Without a terminal each trial is a line that ends with an estimate of the time left, none after the last one."""
    lines = [line for line in (searched / "err.txt").read_text().splitlines() if re.match(r"\d+/20 #", line)]
    left = [re.search(r"\(([^()]+) left\)$", line) for line in lines]
    texts = [found[1] for found in left if found is not None]

    assert len(texts) == len(lines) == len(read_study(storage(searched), None).records)
    assert texts[-1] == "0.0 s" and "0.0 s" not in texts[:-1]


def test_every_trial_is_in_the_study_and_in_mlflow(searched: Path) -> None:
    """Complete and infeasible trials alike are one MLflow run each below one parent, none of them RUNNING."""
    result = read_study(storage(searched), None)
    runs = mlflow_runs(searched)
    children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]

    assert len(result.records) == len(children) == 12
    assert len(runs) == 13
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {record.status for record in result.judged} == {Status.COMPLETE, Status.INFEASIBLE}


def test_the_front_is_what_the_planted_surface_says(searched: Path) -> None:
    """On a known latency and quality surface the front is the fastest point without error, plus what costs little."""
    result = read_study(storage(searched), None)

    settings = [record.configuration.runtime for record in result.front]
    assert settings[0]["latency_ms"] == 1
    assert {item["error"] for item in settings} <= {0, 0.004}
    assert any(item["error"] == 0 for item in settings)


def test_a_few_cases_end_a_hopeless_trial(tmp_path: Path) -> None:
    """What loses too much on a few cases is infeasible without the others; what does not is scored on all; what fails
    ends neither of them, nor the search."""
    space = "description: fake\nruntime: {name: fake, threads: 1, error: [0.0, 0.2], failure: [null, raise]}\n"
    arguments = project(tmp_path, space, workload=tiny.MANY_SOURCE)
    done = run("search", *arguments, "--budget", "5", "--max-drop", "0.01", quick=True)
    assert done.returncode == 0, done.stderr
    result = read_study(storage(tmp_path), None)

    good, bad = (record for record in result.judged if record.status is not Status.FAILED)
    assert good.quality is not None and len(good.quality.cases) == 60 and good.quality.left_out == 0
    assert bad.status is Status.INFEASIBLE
    assert bad.quality is not None and len(bad.quality.cases) == 12 and bad.quality.left_out == 48
    assert bad.measurement is not None and bad.measurement.stopped == "it surely loses too much on 12 of 60 cases"
    runs = {run.data.tags.get("autoopt.trial"): run for run in mlflow_runs(tmp_path)}
    assert runs[str(bad.number)].data.tags["autoopt.stopped"] == bad.measurement.stopped

    failed = [record for record in result.judged if record.status is Status.FAILED]
    assert len(failed) == 2
    assert {record.failure and record.failure.cause for record in failed} == {"crash"}
    assert {runs[str(record.number)].info.status for record in failed} == {"FAILED"}


def test_the_same_command_again_prints_the_front_and_runs_nothing(searched: Path) -> None:
    """When the budget is spent the command says so, shows the front and exits 0."""
    before = read_study(storage(searched), None).records
    again = run("search", *project(searched), "--budget", "12", "--max-drop", "0.01")

    assert again.returncode == 0, again.stderr
    assert "already spent" in again.stdout
    assert read_study(storage(searched), None).records == before


def test_events_are_json_lines_and_nothing_else(searched: Path) -> None:
    """With `--json` each line of standard output is an event, the last one with what `front --json` prints."""
    again = run("search", *project(searched), "--budget", "12", "--max-drop", "0.01", "--json")
    assert again.returncode == 0, again.stderr
    first, last = map(json.loads, again.stdout.splitlines())
    assert (first["event"], first["done"], last["event"], last["trials"]) == ("start", 12, "end", 12)
    assert last["result"] == json.loads(run("front", "--home", str(searched / "mlruns"), "--json").stdout)


def test_front_prints_json_and_csv(searched: Path) -> None:
    """`autoopt front` gives the same members as a table, as JSON and as CSV."""
    home = ["--home", str(searched / "mlruns")]
    table, as_json, as_csv = run("front", *home), run("front", *home, "--json"), run("front", *home, "--csv")

    members = json.loads(as_json.stdout)["front"]
    assert members
    assert len(as_csv.stdout.splitlines()) == len(members) + 1
    for member in members:
        assert f"#{member['trial']}" in table.stdout
        assert member["latency_p25_ms"] > 0


def test_replay_runs_one_trial_again_and_shows_the_difference(searched: Path) -> None:
    """A stored trial can be run alone from its record, adds nothing to the study, and gives the same quality."""
    done = run("replay", "0", "--home", str(searched / "mlruns"))

    assert done.returncode == 0, done.stderr
    assert "latency_p25_ms" in done.stdout
    assert "+0.0000" in done.stdout
    assert len(read_study(storage(searched), None).records) == 12


def test_plan_spends_nothing(tmp_path: Path) -> None:
    """`autoopt plan` says how large the space is and what it would cost, and makes no study."""
    done = run("plan", *project(tmp_path), "--budget", "50")

    assert done.returncode == 0, done.stderr
    assert "12 canonical points" in done.stdout
    assert "exhaustive" in done.stdout
    assert not (tmp_path / "mlruns" / "study.db").exists()


def test_nothing_feasible_says_which_limit_binds(tmp_path: Path) -> None:
    """When no trial keeps the limits the command names the limit and the nearest trials and exits 3."""
    done = run("search", *project(tmp_path), "--budget", "2", "--max-latency", "1us", quick=True)

    assert done.returncode == 3, done.stderr
    assert "p25 latency (upper bound) binds" in done.stdout
    assert "Nearest" in done.stdout


def test_two_searches_on_one_study_do_not_meet(tmp_path: Path) -> None:
    """The second search on a study says that it is busy, with the process that holds it, and exits 2."""
    space = SPACE.replace("[1, 2, 3, 4]", "[100, 101, 102, 103]")
    arguments = ["search", *project(tmp_path, space), "--budget", "12"]
    first = start(*arguments, quick=True)
    try:
        _wait_for_trials(tmp_path, 1, first)
        second = run(*arguments)
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.communicate()

    assert second.returncode == 2
    assert "Traceback" not in second.stderr
    assert str(first.pid) in second.stderr


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The URL of a throw-away PostgreSQL cluster."""
    with cluster() as url:
        yield url


def test_postgresql_storage_works_the_same(tmp_path: Path, postgresql: str) -> None:
    """A real PostgreSQL server holds the study; what may end or stop it is in tests/study/test_postgresql.py."""
    done = run("search", *project(tmp_path), "--max-drop", "0.01", "--storage", postgresql, "--budget", "3", quick=True)
    assert done.returncode == 0, done.stderr
    assert len(read_study(postgresql, None).records) == 3
    assert not (tmp_path / "mlruns" / "study.db").exists()


def _wait_for_trials(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Until the study holds `count` trials; an end of the process before that is an error."""
    line_count = 0
    assert process.stderr is not None
    known = len(read_study(storage(folder), None).records) if (folder / "mlruns" / "study.db").exists() else 0
    while known + line_count < count:
        line = process.stderr.readline()
        assert line or process.poll() is None, "the search ended early"
        line_count += "/12 #" in line

"""What makes MLflow's pages readable, and that it never costs a search its trials."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from autoopt.core.records import Failure
from autoopt.report.next_commands import Place
from autoopt.study.result import StudyResult
from autoopt.study.sink import opened
from autoopt.study.words import LONGEST_NAME
from autoopt.tracking import Tracker, default_tracking_uri, read_trials
from autoopt.tracking.addresses import view as view_address
from autoopt.tracking.decoration import Decoration
from autoopt.tracking.note_text import block, note_tags, plain
from autoopt.tracking.notes import FRONT, OTHER, REFERENCE, study_note, trial_note
from autoopt.tracking.rounding import headline, score, significant
from autoopt.tracking.views import SHARED
from tests.report.page.planted import planted_study

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

STUDY = planted_study(12, id="1d")


def client(home: Path) -> MlflowClient:
    import mlflow

    return mlflow.MlflowClient(default_tracking_uri(home))


def runs(home: Path) -> dict[str, Run]:
    """The runs by their trial's number, the parent as "study"."""
    return {run.data.tags.get("autoopt.trial", "study"): run for run in client(home).search_runs(["1"])}


def write(home: Path, result: StudyResult, decoration: Decoration | None = None) -> None:
    with opened([Tracker(default_tracking_uri(home), home, decoration=decoration)], result):
        pass


@pytest.fixture
def home(decorated: Path) -> Path:
    """A home folder with the study, only to be read."""
    return decorated


@pytest.fixture
def changed(decorated: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(decorated, tmp_path / "mlruns"))


def test_rows_differ_at_sight(home: Path) -> None:
    """Names fit into MLflow's column, and colours tell front, references and the others apart."""
    found = runs(home)
    trials = {int(key): run for key, run in found.items() if key != "study"}
    assert all(len(run.info.run_name) <= LONGEST_NAME for run in trials.values())
    colours = {number: run.data.tags["mlflow.runColor"] for number, run in trials.items()}
    front = {record.number for record in STUDY.front}
    assert {number for number, colour in colours.items() if colour == FRONT} == front
    assert {number for number, colour in colours.items() if colour == REFERENCE} == {0, 1} - front
    assert set(colours.values()) == {FRONT, REFERENCE, OTHER}


def test_the_page_of_a_study_begins_with_the_answer(home: Path) -> None:
    """Its note says in the first line what to deploy, then shows the front, links views and report that are there."""
    top = runs(home)["study"]
    lines = top.data.tags["mlflow.note.content"].splitlines()
    assert lines[0].startswith("**Demo data.** Deploy **#") and "OpenVINO FP32, dice" in lines[0]
    assert lines[2] == f"![front](get-artifact?path=front.png&run_uuid={top.info.run_id})"
    assert "viewStateShareKey=study-1d&workflowType=machine_learning" in lines[-3]
    assert f"/runs/{top.info.run_id}/artifacts/report.html?" in lines[-3]
    report = Path(client(home).download_artifacts(top.info.run_id, "report.html")).read_text()
    assert report.startswith("<!DOCTYPE html>") and "histo (demo data)" in report


def test_a_failed_trial_says_why_first(home: Path) -> None:
    """The note of its page begins with cause and message, shown as text, and has the end of its log."""
    note = runs(home)["7"].data.tags["mlflow.note.content"]
    assert note.startswith("**Failed in measure: crash.** the worker died &lt;b&gt;of")
    assert "```\nline 1\nSegmentation fault\n```" in note


def test_ready_views_are_stored(home: Path) -> None:
    """The experiment has a note with links, and views whose filter, columns and charts name what the runs have."""
    tags = client(home).get_experiment("1").tags
    assert tags["mlflow.experimentKind"] == "custom_model_development"
    address = "#/experiments/1/runs?viewStateShareKey=front&workflowType=machine_learning"
    assert address == view_address("1") and address in tags["mlflow.note.content"]
    view = json.loads(tags[f"{SHARED}front"])
    assert view["searchFilter"] == "tags.`autoopt.kind` = 'trial' and tags.`autoopt.study_id` = '1d'"
    assert len(client(home).search_runs(["1"], view["searchFilter"])) == 12
    run = runs(home)["2"]
    known = {f"metrics.`{name}`" for name in run.data.metrics} | {f"params.`{name}`" for name in run.data.params}
    known |= {f"tags.`{name}`" for name in run.data.tags} | {"attributes.`Dataset`"}
    assert set(view["selectedColumns"]) <= known
    lines = next(chart for chart in view["compareRunCharts"] if chart["type"] == "PARALLEL")
    everywhere = [run.data.params for key, run in runs(home).items() if key != "study"]
    assert lines["selectedParams"] and all(set(lines["selectedParams"]) <= set(params) for params in everywhere)
    assert all(len(text) <= 5000 for name, text in tags.items() if name.startswith(SHARED))


def test_the_data_is_named(home: Path) -> None:
    """A run names the parts of the data that it was scored on, by digest and without a folder."""
    found = runs(home)
    names = {key: {item.dataset.name for item in run.inputs.dataset_inputs} for key, run in found.items()}
    assert names["study"] == names["0"] == {"histo val", "histo test"}
    assert names["6"] == {"histo val"} and names["7"] == set()
    assert {item.dataset.digest for item in found["6"].inputs.dataset_inputs} == {"da7a"}


def test_metrics_are_written_once(home: Path) -> None:
    """What no later trial changes has one value: MLflow draws lines of metrics with a history."""
    run_id = runs(home)["2"].info.run_id
    for name in ("latency_p25_ms", "dice_macro", "front_probability", "speedup_vs_best_float"):
        assert len(client(home).get_metric_history(run_id, name)) == 1, name


class Broken(Decoration):
    """Decoration in a world where notes, names and data sets cannot be written."""

    def trial_tags(self, *given: object) -> dict[str, str]:
        with self.attempt("notes"):
            raise RuntimeError("no notes at http://me:hunter2@host today")
        return {}

    def row_name(self, *given: object) -> str:
        with self.attempt("names"):
            raise ValueError("no names")
        return "#?"


def test_what_cannot_be_decorated_costs_no_trial(changed: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where notes, names and the report fail, all trials are written, one warning says it, the next search mends it."""

    def no_report(result: StudyResult, place: Place) -> str:
        raise KeyError("a section")

    def report_there() -> bool:
        (top,) = client(changed).search_runs(["1"], "tags.`autoopt.study` = 'bare' and tags.`autoopt.kind` = 'study'")
        return "report.html" in {item.path for item in client(changed).list_artifacts(top.info.run_id)}

    study = replace(STUDY, card=replace(STUDY.card, name="bare", id="ba"))
    with caplog.at_level(logging.WARNING, "autoopt"):
        write(changed, study, Broken(no_report))
    (warning,) = [record.getMessage() for record in caplog.records if record.name == "autoopt"]
    assert "trials are complete" in warning and "hunter2" not in warning
    assert len(read_trials(default_tracking_uri(changed), "bare")) == 12 and not report_there()
    write(changed, study)
    assert report_there()


def test_a_report_that_was_not_stored_is_written_by_the_next_search(changed: Path) -> None:
    """Where MLflow did not take the report's file, the run does not say that all is there."""

    class NoPlace(Tracker):
        def _log_files(self, run_id: str, files: Mapping[str, bytes]) -> None:
            if "report.html" in files:
                raise OSError("no place for a report")
            super()._log_files(run_id, files)

    study = replace(STUDY, card=replace(STUDY.card, name="bare", id="ba"))
    with opened([NoPlace(default_tracking_uri(changed), changed)], study):
        pass
    (top,) = client(changed).search_runs(["1"], "tags.`autoopt.study` = 'bare' and tags.`autoopt.kind` = 'study'")
    assert "autoopt.ended_digest" not in top.data.tags
    write(changed, study)
    assert "report.html" in {item.path for item in client(changed).list_artifacts(top.info.run_id)}


def test_runs_of_an_earlier_version_are_brought_up_to_date(changed: Path) -> None:
    """Long names, many digits, a table as note are replaced by the next search; a person's note and name stay."""
    found, mlflow = runs(changed), client(changed)
    top = found["study"].info.run_id
    mlflow.update_run(found["2"].info.run_id, name="#002 openvino int8 a very long name of an earlier version")
    mlflow.update_run(found["3"].info.run_id, name="my favourite")
    mlflow.log_metric(found["2"].info.run_id, "latency_p25_ms", 12.34567890123)
    mlflow.set_tag(found["4"].info.run_id, "mlflow.note.content", "ask Anna")
    mlflow.set_tag(top, "mlflow.note.content", "### Pareto front of histo (demo data)\n\na table")
    for tag in ("autoopt.front_digest", "autoopt.ended_digest"):
        mlflow.set_tag(top, tag, "of an earlier version")
    write(changed, STUDY)
    after = runs(changed)
    assert len(after["2"].info.run_name) <= LONGEST_NAME and after["3"].info.run_name == "my favourite"
    assert after["2"].data.metrics == found["2"].data.metrics
    assert after["4"].data.tags["mlflow.note.content"] == "ask Anna"
    assert after["study"].data.tags["mlflow.note.content"].startswith("**Demo data.** Deploy")


def test_notes_show_text_as_it_is() -> None:
    """A message of a model that somebody sent is shown, not run: no picture, no link, no HTML, no end of its block."""
    hostile = "![x](http://example.org/x.png) <img src=x> [a](b) `c`\n# d"
    shown = plain(hostile)
    assert "![" not in shown.replace("\\[", "") and "<" not in shown and "\n" not in shown
    assert block("a\n```\n<b>", 15) == "````\na\n```\n<b>\n````"
    assert block("1\n2\n3", 2) == "```\n2\n3\n```"
    failed = replace(STUDY.records[7], failure=Failure("crash", "measure", hostile, "x" * 9000))
    note = trial_note(failed, STUDY)
    assert len(note) <= 5000 and "xxx\n```\n\n**#7**" in note, "a long line leaves the block whole and the trial named"


def test_a_study_without_an_answer_says_so() -> None:
    """Before the first trial, and where no trial keeps the limits, the note says that."""
    assert "No trial has ended yet" in study_note(replace(STUDY, records=()), "1", "r")
    strict = replace(STUDY, card=replace(STUDY.card, limits={"drop": -0.5}))
    assert "no trial of planted keeps" in study_note(strict, "1", "r")


def test_a_note_of_a_person_is_kept() -> None:
    """A note is replaced where there is none or it is ours as we wrote it, never where somebody wrote."""
    ours = note_tags("first", {})
    assert note_tags("second", ours)["mlflow.note.content"] == "second"
    assert note_tags("second", {**ours, "mlflow.note.content": "first, and more"}) == {}
    assert note_tags("second", {"mlflow.note.content": "by hand"}) == {}


def test_numbers_are_short() -> None:
    """Four significant digits, of scores and drops four decimals, counts whole; what is small does not become zero."""
    assert [significant(value) for value in (32.23726080235912, 12345.0, 0.000123456)] == [32.24, 12345.0, 0.0001235]
    assert [score(value) for value in (0.93722371, 1.23e-6, -1.1e-16, -0.00021)] == [0.9372, 1.2e-06, 0.0, -0.00021]
    assert headline({"drop": 0.0123456, "latency_p25_ms": 0.0123456, "dice_x": 0.9123456}) == {
        "drop": 0.0123,
        "latency_p25_ms": 0.01235,
        "dice_x": 0.9123,
    }

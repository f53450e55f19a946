"""The difference of two trials as text, JSON and CSV, and the command that prints it."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

from typer.testing import CliRunner

from autoopt.cli import app
from autoopt.report.trial_diff import Side, trial_diff
from autoopt.report.trial_diff_text import cases_csv, diff_json, diff_text
from tests.report.page.planted import planted_study
from tests.report.test_trial_diff import STUDY, of_scores, side, stored
from tests.worlds import HOST


def test_the_text_says_what_changed() -> None:
    """Settings, ratio, drop and cases each have their line; demo data is called so."""
    text = "\n".join(diff_text(trial_diff(side(1), side(4))))
    assert "study planted, histo (demo data), on cpu (2 cores)" in text
    assert "latency: #4 is 8.33 times as fast as #1 (95 %: " in text
    assert "dice_macro on val: 0.9300 -> 0.9220; drop +0.0080 (95 %: +0.00" in text and "6 patients, Wilcoxon" in text
    assert "cases: of 12 on val 0 are better in #4, 12 worse, 0 equal" in text
    back = "\n".join(diff_text(trial_diff(side(4), side(1))))
    assert "latency: #1 takes 8.33 times as long as #4" in back and "lost most" not in back


def test_what_is_not_known_is_said() -> None:
    """A missing ratio has its reason, a single patient no interval, lists of kernels only what differs."""
    far = planted_study(name="far", host=replace(HOST, cpu="other cpu"))
    text = "\n".join(diff_text(trial_diff(side(1), side(4, far))))
    assert "no ratio: they were measured on different hosts" in text
    assert "study far, histo (demo data), on other cpu" in text
    one, other = (replace(of_scores(number, 0.9 - number / 1000)) for number in (20, 21))
    kernels = [
        replace(record, measurement=replace(record.measured, effective={"kernels": f"conv:{number},pool:4"}))
        for record, number in ((one, 1), (other, 2))
    ]
    text = "\n".join(diff_text(trial_diff(Side(STUDY, kernels[0]), Side(STUDY, kernels[1]))))
    assert "- conv:1\n" in text and "+ conv:2\n" in text and "pool" not in text
    assert "without an interval: one patient says nothing of others" in text


def test_cases_of_one_patient_are_not_called_patients() -> None:
    """Where all cases are of one patient their interval says nothing of others: text and JSON name one patient."""
    sides = []
    for number, scores in ((20, (0.9, 0.8, 0.7)), (21, (0.8, 0.9, 0.6))):
        record = of_scores(number, *scores)
        assert record.quality is not None
        cases = tuple(replace(case, group="p") for case in record.quality.cases)
        sides.append(Side(STUDY, replace(record, quality=replace(record.quality, cases=cases))))
    found = trial_diff(*sides)
    assert "3 cases of one patient, Wilcoxon" in "\n".join(diff_text(found))
    assert diff_json(found)["drop"]["patients"] == 1


def test_the_sign_of_an_error_is_said() -> None:
    """Of a metric of which less is better the drop is a rise, and the text says so."""
    study = planted_study(primary="dice_macro", less_is_better=True)
    records = [of_scores(number, *scores, errors=("dice_macro",)) for number, scores in ((20, (1, 2)), (21, (2, 4)))]
    text = "\n".join(diff_text(trial_diff(*(Side(study, record) for record in records))))
    assert "1.5000 -> 3.0000; drop +1.5000" in text and "less dice_macro is better" in text
    assert "less dice_macro" not in "\n".join(diff_text(trial_diff(side(1), side(4))))


def test_json_has_all_of_it_and_csv_all_cases() -> None:
    """JSON is strict, also where a bound is infinite; the CSV has a row for each case, what lost most first."""
    one, other = of_scores(20, 0.9), of_scores(21, 0.8)
    found = json.loads(json.dumps(diff_json(trial_diff(Side(STUDY, one), Side(STUDY, other))), allow_nan=False))
    assert found["drop"]["low"] is None and found["drop"]["patients"] == 1
    diff = trial_diff(side(1), side(4))
    found = diff_json(diff)
    assert found["latency_ratio"]["low"] < found["latency_ratio"]["value"] < found["latency_ratio"]["high"]
    assert found["cases"]["worse"] == 12 and len(found["worst_cases"]) == 5
    rows = list(csv.DictReader(io.StringIO(cases_csv(diff))))
    assert len(rows) == 12 and float(rows[0]["lost"]) >= float(rows[1]["lost"]) > 0


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    """The command prints text or JSON, and writes the cases where it is told to; a folder that is not there is said
    before."""
    stored(tmp_path, planted_study(12))
    home, file = ["--home", str(tmp_path)], tmp_path / "cases.csv"
    done = CliRunner().invoke(app, ["diff", "1", "4", "--csv", str(file), *home])
    assert done.exit_code == 0 and "latency: #4 is" in done.output and len(file.read_text().splitlines()) == 13
    printed = CliRunner().invoke(app, ["diff", "1", "4", "--json", *home])
    assert json.loads(printed.output)["metric"] == "dice_macro"
    refused = CliRunner().invoke(app, ["diff", "1", "4", "--csv", str(tmp_path / "none" / "f"), *home])
    assert "--csv must be a file" in str(refused.exception)

"""The arms of a study in words, as JSON and CSV, in the terminal and on the page."""

from __future__ import annotations

import csv
import io
import json

import pytest

from autoopt.core.records import ARM
from autoopt.report.arms_text import NO_ARMS, arms_csv, arms_json, arms_title
from autoopt.report.page import arms as section
from autoopt.report.page.html import text_of
from autoopt.report.page.subject import Subject
from autoopt.terminal import arms as print_arms
from tests.report.page.planted import trial
from tests.study.test_arm_results import STUDY, with_arms

FOUND = with_arms(trial(40, 0.024, 0.925, origin=ARM, label="far"), plain=0, best=4, too_bad=6, crashed=7)


def test_a_dominated_arm_is_said_with_its_numbers() -> None:
    """The words name the member, how many times as fast it is, and what it loses less, with intervals."""
    arm = next(item for item in arms_json(FOUND) if item["arm"] == "far")
    beside = arm["beside"]
    assert arm["status"] == "dominated" and beside["member"] == 2
    assert beside["slower"] == pytest.approx(2.0, rel=0.02)
    assert beside["slower_low"] < beside["slower"] < beside["slower_high"]
    assert beside["lost_low"] < beside["lost"] < beside["lost_high"]
    assert arm["words"].startswith("dominated by #2, which is 2 (")
    assert f"loses {beside['lost']:.4f} less ({beside['lost_low']:.4f} to" in arm["words"]
    json.dumps(arms_json(FOUND), allow_nan=False)


def test_what_has_no_place_says_why() -> None:
    """A limit that is broken, and how a trial failed."""
    words = {item["arm"]: item["words"] for item in arms_json(FOUND)}
    assert words["too_bad"] == "breaks drop <= 0.03" and words["best"] == "on the front"
    assert words["crashed"].startswith("failed: crash in measure: the worker died")


def test_all_outputs_have_every_arm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """CSV, terminal and page name each arm, its trial and where it stands; markup in a message stays text."""
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    monkeypatch.setenv("COLUMNS", "100")
    print_arms(FOUND)
    terminal = capsys.readouterr().out
    assert max(map(len, terminal.splitlines())) <= 100
    page = section.render(Subject(FOUND))
    rows = list(csv.DictReader(io.StringIO(arms_csv(FOUND))))
    assert arms_title(FOUND) == "5 arms of study planted: 1 on the front, 2 dominated, 1 breaks a limit, 1 failed"
    for item, row in zip(arms_json(FOUND), rows, strict=True):
        assert (row["arm"], row["status"], row["trial"]) == (item["arm"], item["status"], str(item["trial"]))
        assert item["arm"] in terminal and item["arm"] in text_of(page) and f"#{item['trial']}" in terminal
    assert "<b>" not in str(page) and "&lt;b&gt;" in str(page)


def test_a_study_without_arms_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """The terminal says what an arm is, the page has no section of them."""
    print_arms(STUDY)
    assert " ".join(capsys.readouterr().out.split()) == NO_ARMS
    assert section.render(Subject(STUDY)) == "" and arms_json(STUDY) == []

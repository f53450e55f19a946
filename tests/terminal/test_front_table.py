"""The front as a table that fits the terminal."""

from __future__ import annotations

import re

import pytest

from autoopt.report.tables import columns, front_rows
from autoopt.study.result import StudyResult
from autoopt.terminal.front_table import front
from tests.report.page.planted import planted_study

STUDY = planted_study(24)


def printed(
    study: StudyResult, width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], **how: bool
) -> list[str]:
    """The lines of the front where a line has so many characters."""
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    monkeypatch.setenv("COLUMNS", str(width))
    front(study, **how)
    return capsys.readouterr().out.splitlines()


def header(lines: list[str]) -> list[str]:
    """The titles of the columns."""
    return [cell.strip() for cell in next(line for line in lines if "configuration" in line).strip("┃").split("┃")]


@pytest.mark.parametrize("width", [80, 120, 220])
def test_no_line_is_longer_than_the_terminal_and_no_number_is_cut(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Columns that have no room are left out whole and named; those that are there have all of their digits."""
    lines = printed(STUDY, width, monkeypatch, capsys)
    assert max(map(len, lines)) <= width
    shown, titles = header(lines), columns(STUDY)
    assert shown[:3] == ["trial", "configuration", "p25 ms"] and {"drop", "x OpenVINO"} <= set(shown)
    assert [title for title in titles if title in shown] == shown
    text = " ".join(lines)
    for row in front_rows(STUDY):
        for title, cell in zip(titles, row, strict=True):
            if title in shown and title != "configuration":
                assert all(part in text for part in cell.splitlines()), (title, cell)
    left_out = [title for title in titles if title not in shown]
    said = re.search(r"Left out for want of room: (.*?)\. --wide shows all", text)
    assert (said[1].split(", ") if said else []) == left_out
    assert (width == 220) == (not left_out)


def test_a_narrow_table_has_latency_and_drop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is little room the configurations become narrow: latency stands beside them, and then the drop."""
    for width, numbers in ((40, ["p25 ms"]), (60, ["p25 ms", "drop"])):
        lines = printed(STUDY, width, monkeypatch, capsys)
        assert header(lines)[2:] == numbers and max(map(len, lines)) <= width


def test_wide_shows_all(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With --wide every column is there and every configuration is one line, however narrow the terminal is."""
    lines = printed(STUDY, 80, monkeypatch, capsys, wide=True)
    assert header(lines) == list(columns(STUDY)) and not any("Left out" in line for line in lines)
    text = "\n".join(lines)
    assert all(row[1] in text for row in front_rows(STUDY))


def test_what_a_study_optimises_comes_before_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a narrow table the objectives of the study have a place that others have where they are none."""
    usual = header(printed(STUDY, 100, monkeypatch, capsys))
    small = planted_study(24, objectives=("latency", "quality", "memory", "size"))
    assert "peak MB" not in usual and "peak MB" in header(printed(small, 100, monkeypatch, capsys))

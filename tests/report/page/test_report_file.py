"""The report as a file, at the end of a search and by its command."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from autoopt.report.next_commands import report_path
from autoopt.report.page.report_file import LEAST_SEARCH_S, ReportFile
from tests.report.page.planted import planted_study
from tests.worlds import Clock


def test_a_search_leaves_its_report(tmp_path: Path) -> None:
    """The sink writes the report of the last state of the study when it is closed, also where that was interrupted."""
    sink = ReportFile(tmp_path)
    sink.check()
    assert sink.open(planted_study(12)) == set(range(9)) | {9, 10, 11}
    sink.changed(planted_study(13, name="a/b"))
    sink.close("interrupted")
    assert report_path(tmp_path, "a/b").name == "a%2Fb.html"
    assert "13 trials" in report_path(tmp_path, "a/b").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("searched_s", "state", "told"),
    [
        (1.0, "finished", "not made yet"),
        (LEAST_SEARCH_S, "interrupted", "not made yet"),
        (LEAST_SEARCH_S, "finished", "could not be made"),
    ],
)
def test_only_a_long_search_waits_for_pictures(tmp_path: Path, searched_s: float, state: str, told: str) -> None:
    """A search that was short or interrupted ends at once; of a long one pictures are tried, here without artifacts."""
    clock = Clock()
    sink = ReportFile(tmp_path, now_s=clock)
    clock.advance(LEAST_SEARCH_S)
    sink.open(planted_study(12))
    clock.advance(searched_s)
    sink.close(state)
    assert told in report_path(tmp_path, "planted").read_text(encoding="utf-8")


def test_a_report_that_cannot_be_written_fails_no_search(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the folder cannot be made, a warning says so and what to run later."""
    (tmp_path / "reports").write_text("in the way")
    sink = ReportFile(tmp_path)
    sink.open(planted_study(12))
    with caplog.at_level(logging.WARNING, logger="autoopt"):
        sink.close("finished")
    assert "run autoopt report planted" in caplog.text


def test_an_empty_study_has_no_report(tmp_path: Path) -> None:
    """Nothing is written where no trial ran."""
    ReportFile(tmp_path).close("finished")
    assert not list(tmp_path.iterdir())

"""What a search prints when it is done."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import typer.main

from autoopt import cli
from autoopt.study.events import SearchResult
from autoopt.study.request import SearchRequest
from autoopt.terminal.search import answer, next_commands, search_result
from tests.report.page.planted import planted_study

STUDY = planted_study(24, name="my study")
FOUND = SearchResult(STUDY, "the budget is spent", False, {"export": 2}, {"export": 20}, {"make": 9.0, "total": 9.0})
HERE = SearchRequest(home=Path("a home"), storage="postgresql://me:secret@host/db")


def test_the_next_commands_can_be_copied(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is one unbroken line that a shell takes apart rightly, with the options that the place needs."""
    monkeypatch.setenv("COLUMNS", "60")
    search_result(FOUND, HERE)
    out = capsys.readouterr().out
    printed = [line.strip() for line in out.partition("Next:\n")[2].splitlines()]
    assert printed == next_commands(STUDY, HERE)
    words = [shlex.split(line) for line in printed]
    assert [line[1] for line in words] == ["ui", "report", "front", "replay", "pull"]
    assert all("a home" in line for line in words) and "secret" not in out
    assert words[3][2] == f"my study/{STUDY.front[0].number}" and words[1][2] == "my study"
    known = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]
    for line in words:
        if line[1] in known:
            options = {option for parameter in known[line[1]].params for option in parameter.opts}
            assert {word for word in line if word.startswith("-")} <= options


def test_a_server_is_opened_and_pulled_from() -> None:
    """Where the runs went to a server its page is opened, and its front can be had on any machine."""
    commands = next_commands(STUDY, SearchRequest(tracking_uri="http://me:secret@host:5000"))
    assert commands[0].startswith("autoopt ui --tracking-uri 'http://") and "secret" not in " ".join(commands)
    assert commands[-1].startswith("autoopt pull --workload histo --tracking-uri 'http://")
    assert next_commands(STUDY, SearchRequest(tracking_uri="sqlite:///x.db"))[0] == (
        "autoopt ui --tracking-uri sqlite:///x.db"
    )


def test_quiet_leaves_one_line_and_the_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    """The choice with its numbers and the command for it are one line; what is doubtful stands on standard error."""
    answer(FOUND, HERE)
    out, err = capsys.readouterr()
    assert out.count("\n") == 1 and out.startswith("my study: ") and "balanced is #" in out and "autoopt pull" in out
    assert err.splitlines() == [
        "warning: Did not hold on test: #5 lost more there than the limit that it kept on val.",
        "warning: Noisy, the host was busy: #4.",
    ]
    answer(SearchResult(planted_study(12, limits={"drop": -1.0}), "the time is up", False), HERE)
    assert capsys.readouterr().out == "planted: nothing fits after 12 trials.\n"

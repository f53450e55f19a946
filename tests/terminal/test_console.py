"""Where commands print to, and how they look where there is no proper terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from autoopt.terminal.console import WIDTH, can_redraw, console_of, duration, width_of, wrapped
from tests.deploy import studies

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a study of a workload whose name has a letter that ASCII lacks."""
    folder = tmp_path_factory.mktemp("home")
    studies.write_home(folder, workload="zoë")
    return folder


def shown(home: Path, environment: dict[str, str], *, terminal: bool) -> bytes:
    """What `autoopt front` writes, into a pipe or to a terminal."""
    command = [sys.executable, "-m", "autoopt", "front", "--home", str(home)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80", **environment}
    if not terminal:
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert done.returncode == 0 and done.stderr == b"", done.stderr
        return done.stdout
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, env=environment, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    text = b""
    try:
        while part := os.read(ours, 4096):
            text += part
    except OSError:
        pass  # the other end was closed
    finally:
        os.close(ours)
    assert process.wait() == 0, text
    return text.replace(b"\r\n", b"\n")


@pytest.mark.parametrize(
    ("environment", "terminal"),
    [
        ({"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}, False),
        ({"TERM": "dumb", "NO_COLOR": "1", "PYTHONIOENCODING": "ascii"}, True),
    ],
)
def test_a_log_and_a_dumb_terminal_get_plain_letters(home: Path, environment: dict[str, str], terminal: bool) -> None:
    """Without Unicode a table is drawn with plain signs, a strange letter by its code, and nothing moves the cursor."""
    text = shown(home, environment, terminal=terminal)
    assert b"zo\\xeb" in text and b"| trial |" in text
    assert all(32 <= letter < 127 or letter == 10 for letter in text)
    assert max(map(len, text.splitlines())) <= 80


def test_the_width_is_that_of_the_terminal_or_of_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe has a usual width, unless COLUMNS says another; what makes no sense there is passed over."""
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    for text, width in (("", WIDTH), ("90", 90), ("wide", WIDTH), ("0", WIDTH)):
        monkeypatch.setenv("COLUMNS", text)
        assert width_of(console_of()) == width
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "70")
    assert width_of(console_of()) == 70


def test_a_line_is_drawn_over_on_a_proper_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in a pipe, on a dumb terminal, or in a CI that pretends to be a terminal."""
    for compatible, term, ci, drawn in (
        ("1", "xterm", "", True),
        ("0", "xterm", "", False),
        ("1", "dumb", "", False),
        ("1", "xterm", "true", False),
    ):
        monkeypatch.setenv("TTY_COMPATIBLE", compatible)
        monkeypatch.setenv("TERM", term)
        monkeypatch.setenv("CI", ci)
        assert can_redraw(console_of()) == drawn


def test_sentences_are_broken_between_words(capsys: pytest.CaptureFixture[str]) -> None:
    """No line is longer than it may be, a number stays with its unit, and a deeper line stays deeper."""
    wrapped(console_of(), "a bound of about 95 % is meant\n  #1 [red]: one two three four", 20)
    assert capsys.readouterr().out.splitlines() == [
        "a bound of about",
        "95 % is meant",
        "  #1 [red]: one two",
        "    three four",
    ]


def test_durations_are_read_at_a_glance() -> None:
    """Seconds, minutes and hours, two of them at most."""
    assert [duration(seconds) for seconds in (4.24, 185, 7620)] == ["4.2 s", "3 min 05 s", "2 h 07 min"]


NOISY = """
import ctypes, os, subprocess, sys
from autoopt.terminal.console import stdout_alone
with stdout_alone() as out:
    print("python")
    sys.__stdout__.write("python, past the redirection\\n")
    os.write(1, b"system call\\n")
    ctypes.CDLL(None).puts(b"C")
    subprocess.run(["echo", "process"])
    out.write("ours\\n")
print("after")
"""


def test_standard_output_is_for_one_alone() -> None:
    """Whatever a workload or a library writes meanwhile, by whichever way, goes to standard error; nothing is lost."""
    done = subprocess.run([sys.executable, "-c", NOISY], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "ours\nafter\n"
    said = ["C", "process", "python", "python, past the redirection", "system call"]
    assert sorted(done.stderr.splitlines()) == said

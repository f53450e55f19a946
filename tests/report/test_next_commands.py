"""The commands that are shown to be typed."""

from __future__ import annotations

import shlex
from pathlib import Path

from autoopt.report.next_commands import Place, pull_command, trial_command


def test_commands_can_be_pasted() -> None:
    """Names with spaces are quoted, passwords are not shown, and the usual home folder is not named."""
    place = Place(Path("/a home"), "postgresql://me:secret@host/db")
    words = shlex.split(pull_command("a study", "fastest", place))
    assert words[words.index("--study") + 1] == "a study" and words[words.index("--home") + 1] == "/a home"
    assert "secret" not in " ".join(words)
    assert trial_command("replay", "s", 3, Place()) == "autoopt replay s/3"

"""The commands that a reader of a result can type next, as they must be typed."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from autoopt.core.urls import without_secrets
from autoopt.study.request import HOME

REPORTS = "reports"
"""The folder of a home folder that has the reports of its studies."""


@dataclass(frozen=True)
class Place:
    """Where a study is stored: its home folder, and the URL of its storage where that is not in it."""

    home: Path = HOME
    storage: str | None = None

    @property
    def flags(self) -> str:
        """The options that name the place, each with a space before it; empty for the usual one."""
        home = "" if self.home == HOME else f" --home {shlex.quote(str(self.home))}"
        storage = "" if self.storage is None else f" --storage {shlex.quote(without_secrets(self.storage))}"
        return home + storage


def report_path(home: Path, study: str) -> Path:
    """Where a search leaves the report of its study; what no file name may hold is written as in an address."""
    return home / REPORTS / f"{quote(study, safe=' ')}.html"


def pull_command(study: str, pick: str, place: Place, *, more: str = "") -> str:
    """The command that writes the bundle of what the policy `pick` takes; `more` are further options."""
    return f"autoopt pull --study {shlex.quote(study)} --pick {pick}{more} -o deploy/{place.flags}"


def trial_command(command: str, study: str, number: int, place: Place) -> str:
    """The command `command` (replay, explain) of one trial."""
    return f"autoopt {command} {shlex.quote(f'{study}/{number}')}{place.flags}"

"""`autoopt report`: the command, on a stored study."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from autoopt import cli
from autoopt.commands.report import report
from autoopt.errors import StorageError, UsageError
from tests.deploy.studies import write_home

RUN = CliRunner()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    write_home(folder, "toy")
    return folder


def test_the_command_writes_one_file_and_says_so(home: Path, tmp_path: Path) -> None:
    """The file is the report of the last study, with commands that name its home; `-o -` prints the same."""
    out = tmp_path / "r.html"
    said = RUN.invoke(cli.app, ["report", "--home", str(home), "-o", str(out)])
    assert said.exit_code == 0 and said.stdout.startswith(f"wrote {out} (") and " kB)" in said.stdout
    text = out.read_text(encoding="utf-8")
    assert f"--home {home}" in text and "Latency against quality" in text
    assert RUN.invoke(cli.app, ["report", "--home", str(home), "-o", "-"]).stdout == text


def test_what_is_not_there_is_one_sentence(home: Path, tmp_path: Path) -> None:
    """A study that does not exist is named with those that do, a folder that does not exist before any work."""
    out = tmp_path / "r.html"
    with pytest.raises(StorageError, match=r"nope is not in .*there: s"):
        report("nope", str(out), home=home)
    with pytest.raises(UsageError, match="-o must be a file in a folder that is there"):
        report(out=str(tmp_path / "no" / "r.html"), home=home)
    assert not out.exists()

"""The commands of docs/deployment.md that need a registry, as they stand, against a real server."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from click.testing import Result
from typer.testing import CliRunner

import autoopt
from autoopt import cli
from autoopt.errors import UsageError
from autoopt.measure.target import LocalTarget
from tests.e2e import helpers
from tests.e2e.helpers import project
from tests.mlflow_server import serving
from tests.tracking.fronts import home_of, study, write_study

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "deployment.md").read_text()
COMMANDS = re.findall(r"^    (autoopt (?:register|pull) .*)$", PAGE, re.MULTILINE)
ADDRESS = "http://SERVER:5000"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a real `mlflow server --serve-artifacts`."""
    with serving(tmp_path_factory.mktemp("server")) as uri:
        yield uri


def run(words: list[str], folder: Path) -> Result:
    """A command as it is typed in a folder, in this process: to start another one takes longer than all it does."""
    assert words[0] == "autoopt"
    with contextlib.chdir(folder):
        return CliRunner().invoke(cli.app, words[1:], catch_exceptions=False)


def test_the_documented_way_from_a_study_to_another_machine(server: str, tmp_path: Path) -> None:
    """Registered where the study is, pulled by name and by limits in a folder with nothing in it, and from a ZIP."""
    result = study("histo", host=LocalTarget().host)
    write_study(home_of(tmp_path, result), result)
    (tmp_path / "home").rename(tmp_path / "mlruns")
    (tmp_path / "elsewhere").mkdir()
    remote = [command for command in COMMANDS if ADDRESS in command]
    assert [command.split()[1] for command in remote] == ["register", "pull", "pull"]

    done = run(shlex.split(remote[0].replace(ADDRESS, server)), tmp_path)
    assert done.exit_code == 0, done.stderr
    assert "autoopt-histo at http://127.0.0.1" in done.stdout and "3 of them new" in done.stdout
    again = run(shlex.split(remote[0].replace(ADDRESS, server)), tmp_path)
    assert again.exit_code == 0 and "0 of them new" in again.stdout
    runs = mlflow.MlflowClient(server).search_runs([1], "tags.`autoopt.kind` = 'trial'")
    assert sorted(run.data.tags["autoopt.trial"] for run in runs) == ["1", "2", "3"]
    assert all(len(run.outputs.model_outputs) == 1 for run in runs)

    for command in remote[1:]:
        done = run(shlex.split(command.replace(ADDRESS, server)), tmp_path / "elsewhere")
        assert done.exit_code == 0, done.stderr
        with autoopt.load(tmp_path / "elsewhere" / "deploy") as predictor:
            assert predictor.info["study"] == "histo-1"
    shutil.make_archive(str(tmp_path / "elsewhere" / "bundle"), "zip", tmp_path / "elsewhere" / "deploy")
    (archive,) = [command for command in COMMANDS if "bundle.zip" in command]
    assert run(shlex.split(archive), tmp_path / "elsewhere").exit_code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("pull models:/x@y --max-latency 1ms -o d", "leave out the limits"),
        ("pull models:/a/b/c -o d", "models:/NAME@ALIAS or models:/NAME/VERSION"),
        ("pull --tracking-uri http://127.0.0.1:1 -o d", "--tracking-uri needs --workload"),
        ("pull --host abc -o d", "--host chooses among the hosts of a registry"),
        ("pull nothing.zip -o d", "it is not there"),
        ("pull x.zip --storage sqlite:///s.db -o d", "--storage is where studies of this machine are"),
        ("pull x.zip --tracking-uri http://127.0.0.1:1 -o d", "leave it out for a folder or a ZIP"),
        ("register nothing --home h", "no study is stored in h/study.db"),
    ],
)
def test_words_that_do_not_go_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, told: str
) -> None:
    """One message says what to leave out, exit 2, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=re.escape(told)) as raised:
        cli.app(words.split(), standalone_mode=False)
    assert raised.value.exit_code == 2 and not (tmp_path / "d").exists()


def test_a_search_at_a_server_ends_with_its_front_registered(server: str, tmp_path: Path) -> None:
    """What a search prints as its next command pulls the model from the server, without any state of the search."""
    words = ["search", *project(tmp_path, database=False), "--budget", "3", "--max-drop", "0.01"]
    done = helpers.run(*words, "--tracking-uri", server, quick=True)
    assert done.returncode == 0, done.stderr
    assert "was not registered" not in done.stderr
    (command,) = [line.strip() for line in done.stdout.splitlines() if server in line and "autoopt pull" in line]
    (tmp_path / "mlruns").rename(tmp_path / "gone")
    pulled = run(shlex.split(command.partition("#")[0]), tmp_path)

    assert pulled.exit_code == 0, pulled.stderr
    assert "by policy balanced" in pulled.stdout and f"wrote {Path('deploy')}" in pulled.stdout

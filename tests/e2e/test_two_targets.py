"""A search on two targets from the command line: keepers of this machine, one of which may use one core only."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autoopt.cli import app
from autoopt.linked import search_both
from autoopt.study import loop
from autoopt.study.request import SearchRequest
from autoopt.study.storage import all_studies
from autoopt.testing import ListSink
from tests import tiny
from tests.worlds import World

SPACE = "runtime: {name: fake, precision: f32, threads: [1, 2], latency_ms: 10, error: [0.0, 0.005]}"


@pytest.fixture
def far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of keepers, with an `ssh` before the real one: host `small` has one core, host `twin` is this one."""
    if shutil.which("taskset") is None or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("taskset, and two cores, are needed for a target with one core")
    folder, locks = tmp_path / "bin", tmp_path / "tmp"
    folder.mkdir()
    locks.mkdir()
    first = min(os.sched_getaffinity(0))
    keeper = f"{shlex.quote(sys.executable)} -m autoopt.measure.remote.keeper"
    script = (
        "#!/bin/sh\n"
        f'case "$*" in\n*small*) AUTOOPT_TARGET_HOME={tmp_path}/small exec taskset -c {first} {keeper};;\n'
        f"*twin*) AUTOOPT_TARGET_HOME={tmp_path}/twin exec {keeper};;\nesac\n"
        "echo 'Connection refused' >&2\nexit 255\n"
    )
    (folder / "ssh").write_text(script)
    (folder / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(locks))
    monkeypatch.setenv("AUTOOPT_TARGET_HOME", str(tmp_path / "here"))
    return tmp_path


def search(folder: Path, *targets: str) -> tuple[int, str]:
    space = folder / "space.yaml"
    space.write_text(SPACE)
    weights = tiny.weights(folder / "tiny.safetensors")
    words = ["search", "--workload", tiny.SOURCE, "--weights", str(weights), "--space", str(space), "--budget", "3"]
    words += ["--home", str(folder / "home")]
    for target in targets:
        words += ["--target", target]
    done = CliRunner().invoke(app, words)
    return done.exit_code, done.output if done.exception is None else f"{done.output}{done.exception}"


def test_two_targets_are_two_linked_studies(far: Path) -> None:
    """Both are searched, each with its own host; which members stay is told, and again from what is stored."""
    pytest.importorskip("torch")
    home, space = far / "home", far / "space.yaml"
    space.write_text(SPACE)
    asked = SearchRequest(
        tiny.SOURCE,
        weights=tiny.weights(far / "tiny.safetensors"),
        space=str(space),
        budget=5,  # all points: nothing is left to be measured there
        home=home,
        target=("local://", "ssh://small"),
        study="both",
    )

    sink = ListSink()
    both = search_both(
        asked, search=lambda request: loop.search(request, runner=World()), sinks_of=lambda request: [sink]
    )
    assert [study.card.name for study in both.studies] == ["both-1", "both-2"]
    here, small = (study.card for study in all_studies(asked.storage_url))
    assert (here.name, small.name) == ("both-1", "both-2")
    assert (here.origin["target"], small.origin["target"]) == asked.targets
    assert small.host.cores == 1 < here.host.cores
    names = ("both-1", "both-2")
    done = CliRunner().invoke(app, ["compare", *names, "--home", str(home)])
    assert "members of A's front have a place on B's" in " ".join(done.output.split())
    done = CliRunner().invoke(app, ["compare", *names, "--home", str(home), "--json"])
    told = json.loads(done.output)["studies"]
    assert [item["linked"] for item in told] == ["both-2", "both-1"]
    assert all(member["there"] is not None for item in told for member in item["front"])


def test_two_targets_of_one_kind_are_one(far: Path) -> None:
    """They are refused in one sentence before any folder is made."""
    code, said = search(far, "local://", "ssh://twin")
    assert code != 0 and "ssh://twin both have the fingerprint" in said and not (far / "home").exists()


def test_a_second_target_that_is_none_is_told_first(far: Path) -> None:
    """A wrong address, and one that leads nowhere, are refused before any folder is made."""
    code, said = search(far, "local://", "clinic")
    assert code != 0 and "--target must be ssh://HOST" in said
    code, said = search(far, "ssh://small", "ssh://gone")
    assert code != 0 and "the target ssh://gone cannot be reached" in said
    assert not (far / "home").exists()

"""`autoopt ui`: one server on loopback, asked by nobody outside, that leaves no process behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from autoopt.errors import NoStudy, TrackingError, UsageError
from autoopt.tracking.ready import ready
from autoopt.tracking.ui_server import UiServer, environment, prepare

ROOT = Path(__file__).parents[2]


@contextmanager
def shown(home: Path, *more: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """`autoopt ui` on a home folder: the process, and what it printed until all addresses were there."""
    command = [sys.executable, "-m", "autoopt", "ui", "--home", str(home), "--no-open", *more]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=home.parent, env=variables) as process:
        assert process.stdout is not None
        try:
            lines = []
            for line in process.stdout:
                lines.append(line.strip())
                if "Ctrl-C" in line:
                    break
            yield process, lines
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


def test_it_ends_with_everything_it_started(decorated: Path, tmp_path: Path) -> None:
    """It prints the ready view in a copied home, its server has no job runners, and SIGTERM leaves no process."""
    shutil.copytree(decorated, tmp_path / "mlruns")
    with shown(tmp_path / "mlruns") as (process, lines):
        assert lines[0].startswith("starting MLflow")
        address = next(line.split()[-1] for line in lines if line.startswith("trials of histo:"))
        base, _, page = address.partition("#")
        assert base.startswith("http://127.0.0.1:")
        assert page == "/experiments/1/runs?viewStateShareKey=front&workflowType=machine_learning"
        assert ready(base).table == address and ready(base, "histo").charts.endswith("&compareRunsMode=CHART")
        with pytest.raises(TrackingError, match=r"no study of 'brain' \(workloads there: 'histo'\)"):
            ready(base, "brain")
        started = psutil.Process(process.pid).children(recursive=True)
        group = {os.getpgid(one.pid) for one in started}
        assert len(group) == 1 and group != {os.getpgid(process.pid)}, "a session of its own"
        assert not [one for one in started if re.search("huey|job", " ".join(one.cmdline()))]
        assert all(one.environ()["MLFLOW_DISABLE_TELEMETRY"] == "true" for one in started)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
        assert not [one for one in psutil.process_iter() if one.pid in {p.pid for p in started} and one.is_running()]
        with pytest.raises(ProcessLookupError):
            os.killpg(group.pop(), 0)


def test_a_killed_command_leaves_no_server(tmp_path: Path) -> None:
    """After kill -9 of who started it, also while it starts, what the server started is gone too."""
    starter = (
        "import pathlib, sys, time; from autoopt.tracking.ui_server import UiServer; home = pathlib.Path(sys.argv[1]);"
        "server = UiServer(f'sqlite:///{home}/mlflow.db', home).__enter__(); print(server.group, flush=True); "
        "time.sleep(60)"
    )
    command = [sys.executable, "-c", starter, str(tmp_path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as process:
        assert process.stdout is not None
        leader = psutil.Process(int(process.stdout.readline()))
        while not (below := leader.children()):
            time.sleep(0.05)
        process.kill()
    for one in (leader, *below):
        with suppress(psutil.NoSuchProcess):
            while one.status() != psutil.STATUS_ZOMBIE:  # nobody may collect it in a container
                time.sleep(0.05)


def test_what_cannot_be_shown_is_said(tmp_path: Path) -> None:
    """Where no search has been, at a taken or impossible port, and for a strange URI there is one sentence."""
    with pytest.raises(NoStudy, match="run autoopt search first"):
        prepare(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    assert not list(tmp_path.iterdir()), "nothing is made by looking"
    with pytest.raises(TrackingError, match="must be one of sqlite://"):
        prepare("file:///somewhere", tmp_path)
    (tmp_path / "mlflow.db").write_text("no database, but long enough to be looked at " * 20)
    with pytest.raises(TrackingError, match="cannot be used"):
        prepare(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UsageError, match=r"nobody uses, .* leave it out for a free one"):
            UiServer("sqlite:///x", tmp_path, taken.getsockname()[1])
    with pytest.raises(UsageError, match="from 0 to 65535, got 70000"):
        UiServer("sqlite:///x", tmp_path, 70000)


def test_settings_of_other_servers_are_not_taken(tmp_path: Path) -> None:
    """Of MLflow's variables only ours and those of where files lie reach the server; a relative home becomes whole."""
    given = {
        "PATH": "/bin",
        "MLFLOW_TRACKING_URI": "http://elsewhere",
        "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE": "true",
        "MLFLOW_DISABLE_TELEMETRY": "false",
        "MLFLOW_S3_ENDPOINT_URL": "http://files",
    }
    found = environment("sqlite:///mlruns/mlflow.db", tmp_path, given)
    assert found["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{Path.cwd()}/mlruns/mlflow.db"
    assert found["MLFLOW_DISABLE_TELEMETRY"] == "true" and found["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert {"PATH", "MLFLOW_S3_ENDPOINT_URL"} <= set(found)
    assert not {"MLFLOW_TRACKING_URI", "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE"} & set(found)

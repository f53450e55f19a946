"""MLflow's own server for one person: on loopback, without telemetry and job runners, ended with all it started."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Self
from urllib.parse import urlsplit

from autoopt.core.packages import is_installed
from autoopt.core.scratch import scratch_folder
from autoopt.core.urls import sqlite_file, sqlite_url, without_secrets
from autoopt.errors import NeedsPackage, NoStudy, TrackingError, UsageError
from autoopt.tracking import keeper
from autoopt.tracking.relocate import artifacts_uri, relocate
from autoopt.tracking.server import SCHEMES

LOOPBACK = "127.0.0.1"
START_S = 600.0
"""A host that measures is slow: MLflow's server took 290 seconds beside one."""
LOOK_AGAIN_S = 0.3
END_S = 10.0
"""How long the processes of the server may take to end before they are killed."""
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}
"""It asks nobody outside, and starts no processes for jobs that nobody gives it: seven, which outlive it."""
KEPT = ("MLFLOW_S3_", "MLFLOW_GCS_", "MLFLOW_AZURE_")
"""Settings of where files lie; all others of MLflow's in the environment are for other servers than this one."""


def environment(uri: str, home: Path, given: Mapping[str, str]) -> dict[str, str]:
    """The environment of the server that shows what is stored at `uri`; no password stands on a command line."""
    own = {name: text for name, text in given.items() if not name.startswith(("MLFLOW_", "_MLFLOW_"))}
    own |= {name: text for name, text in given.items() if name.startswith(KEPT)}
    file = sqlite_file(uri)
    place = uri if file is None else sqlite_url(file.resolve())  # it runs in another folder
    stores = {"MLFLOW_BACKEND_STORE_URI": place, "MLFLOW_DEFAULT_ARTIFACT_ROOT": artifacts_uri(home)}
    return {**own, **stores, **SETTINGS}


def prepare(uri: str, home: Path) -> None:
    """See that something is stored at `uri`, and that a copied home names its own files.

    Raises NoStudy where no search has been, TrackingError for a database that cannot be used.
    """
    file = sqlite_file(uri)
    if file is not None and not file.is_file():  # MLflow would make one
        raise NoStudy(f"no study is in {file}: run autoopt search first, or give --home or --tracking-uri")
    if file is None and urlsplit(uri).scheme.partition("+")[0] not in SCHEMES:
        forms = ", ".join(f"{name}://..." for name in SCHEMES)
        raise TrackingError(f"--tracking-uri must be one of {forms}, got {without_secrets(uri)!r}")
    try:
        relocate(uri, home)
    except sqlite3.Error as error:
        raise TrackingError(
            f"MLflow at {without_secrets(uri)} cannot be used ({error}): check --tracking-uri"
        ) from error


class UiServer:
    """The server of what MLflow has at `uri`, at `port` (0: a free one), for a block.

    Raises NeedsPackage without MLflow, UsageError for a port that is taken.
    """

    def __init__(self, uri: str, home: Path, port: int = 0) -> None:
        if not is_installed("mlflow"):
            raise NeedsPackage("this needs mlflow, which this installation does not have: pip install 'autoopt[ui]'")
        self.port = _usable(port)
        self._uri, self._home = uri, home
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"http://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        self._folder = scratch_folder()
        folder = self._folder.__enter__()
        self._log = (folder / "log").open("w+b")
        command = [
            *(sys.executable, "-I", "-S", keeper.__file__),  # kill -9 of this process leaves nobody either
            *(sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(self.port)),
            *("--workers", "1", "--no-serve-artifacts"),
        ]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            cwd=folder,
            env=environment(self._uri, self._home, os.environ),
            start_new_session=True,
        )
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.end()
        finally:
            if self._log is not None:
                self._log.close()
            self._folder.__exit__(None, None, None)

    @property
    def group(self) -> int:
        """The id of the group of all its processes."""
        assert self._process is not None
        return self._process.pid

    def wait_ready(self, waits: Callable[[], None] = lambda: None) -> None:
        """Return once it answers; `waits` is called meanwhile. Raises TrackingError where it ends before."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            self._check_running()
            if _answers(f"{self.url}/health"):
                return
            waits()
            time.sleep(LOOK_AGAIN_S)
        raise TrackingError(f"MLflow's server must answer within {START_S:.0f} s, it did not: {self._last_words()}")

    def wait(self) -> None:
        """Return never, but by an interrupt. Raises TrackingError where the server ends by itself."""
        while True:
            self._check_running()
            time.sleep(LOOK_AGAIN_S)

    def end(self) -> None:
        """End all of its processes, those that do not listen too."""
        if self._process is None:
            return
        try:
            _signal(self.group, signal.SIGTERM)
            until = time.monotonic() + END_S
            while time.monotonic() < until and _lives(self._process):
                time.sleep(0.05)
        finally:  # a second Ctrl-C comes here at once
            _signal(self.group, signal.SIGKILL)
            self._process.wait()
            assert self._process.stdin is not None
            self._process.stdin.close()

    def _check_running(self) -> None:
        assert self._process is not None
        if (code := self._process.poll()) is not None:
            raise TrackingError(f"MLflow's server ended with exit code {code}: {self._last_words()}")

    def _last_words(self) -> str:
        assert self._log is not None
        size = os.fstat(self._log.fileno()).st_size
        text = os.pread(self._log.fileno(), 4000, max(0, size - 4000)).decode(errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return without_secrets(" / ".join(lines[-3:]))[:500] or "it said nothing"


def _usable(port: int) -> int:
    """The port, or a free one for 0. Raises UsageError for one that is taken or is none."""
    if not 0 <= port <= 65535:
        raise UsageError(f"--port must be from 0 to 65535, got {port}")
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((LOOPBACK, port))
        except OSError as error:
            raise UsageError(
                f"--port must be a port that nobody uses, {port} cannot be used ({error.strerror}): "
                "give another one, or leave it out for a free one"
            ) from error
        return int(found.getsockname()[1])


def _answers(url: str) -> bool:
    """Whether a page of this machine can be had."""
    try:
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(url, timeout=5.0) as answer:
            return int(answer.status) == 200
    except (OSError, http.client.HTTPException):
        return False


def _lives(leader: subprocess.Popen[bytes]) -> bool:
    """Whether a process of the group is left; the leader is a zombie until it is asked for."""
    leader.poll()
    try:
        os.killpg(leader.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # macOS says so where only a zombie is left
        return False
    return True


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return  # nobody is left

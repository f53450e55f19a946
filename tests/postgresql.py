"""A throw-away PostgreSQL cluster on loopback, for the tests that need one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mlflow_server import free_port


@contextmanager
def cluster() -> Iterator[str]:
    """The URL of a cluster for the block; the test is skipped where PostgreSQL is not installed.

    It is not in pytest's folder, which every session that starts closes to all other users, such as postgres.
    """
    candidates = [shutil.which("initdb"), *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")))]
    initdb = next((Path(item) for item in candidates if item), None)
    if initdb is None:
        pytest.skip("PostgreSQL's initdb is not installed")
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install autoopt[postgres]")
    with tempfile.TemporaryDirectory(prefix="autoopt-postgresql-", dir="/tmp") as folder:
        yield from _running(initdb, Path(folder))


def _running(initdb: Path, folder: Path) -> Iterator[str]:
    as_user = []
    if os.getuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    data, port = folder / "data", free_port()
    control = [*as_user, str(initdb.parent / "pg_ctl"), "-D", str(data), "-w"]
    subprocess.run(
        [*as_user, str(initdb), "-D", str(data), "-A", "trust", "-U", "postgres"],
        check=True,
        capture_output=True,
        cwd="/",
    )
    options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories={folder}"
    subprocess.run(
        [*control, "-l", str(folder / "log"), "-o", options, "start"], check=True, capture_output=True, cwd="/"
    )
    try:
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, capture_output=True, cwd="/")

"""No command opens a connection to the outside: `conftest.py` holds it for every end-to-end test, this for the rest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.helpers import run
from tests.e2e.silence import OUTSIDE, STARTED, told, write_watch


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("socket.getaddrinfo('example.org', 443)", 1),
        ("socket.socket().connect(('10.255.255.1', 443))", 1),
        ("urllib.request.urlopen('http://example.org')", 1),
        ("socket.socket().connect(('127.0.0.1', 1))", 0),
        ("socket.getaddrinfo('localhost', 443)", 0),
    ],
)
def test_the_watch_sees_what_reaches_for_the_outside(tmp_path: Path, line: str, seen: int) -> None:
    """A name, an address and a request through the proxy are told of a child's child too, what stays here is not."""
    write_watch(tmp_path)
    program = f"import socket, urllib.request; socket.setdefaulttimeout(0.1); {line}"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {program!r}], stderr=subprocess.DEVNULL)"
    proxies = {"http_proxy": "http://127.0.0.1:9"}
    subprocess.run([sys.executable, "-c", outer], env={"PYTHONPATH": str(tmp_path), **proxies}, check=True)
    assert len(told(tmp_path, STARTED)) == 2
    assert bool(told(tmp_path, OUTSIDE)) == bool(seen), told(tmp_path, OUTSIDE)


def test_checks_and_lists_reach_for_nothing(watched: Path, tmp_path: Path) -> None:
    """`doctor` imports all libraries, in children of its own; they and the lists stay silent."""
    before = len(told(watched, STARTED))
    for command in (("--help",), ("workloads",), ("doctor", "--home", str(tmp_path))):
        done = run(*command, cwd=tmp_path)
        assert "Traceback" not in done.stderr, done.stderr
    started = told(watched, STARTED)[before:]
    assert any("autoopt.doctor" in line for line in started), started

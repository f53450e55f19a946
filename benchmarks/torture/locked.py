"""A database that another process has locked, for a while and for good."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.torture.commands import Begun, begun
from benchmarks.torture.judging import ended_badly
from benchmarks.torture.searching import DidNotHold
from benchmarks.torture.table import Setting, Tried

A_WHILE_S = 20.0
LOCKER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


def locked(setting: Setting) -> Iterator[Tried]:
    """study.db and mlflow.db, each locked while a trial is measured, for a while and until the search ends."""
    for name in ("study.db", "mlflow.db"):
        for long in (False, True):
            with begun(setting) as found:
                try:
                    problems = _one(found, found.home / name, for_good=long)
                except DidNotHold as error:
                    problems = [str(error)]
            yield Tried(f"{name} locked {'for good' if long else f'for {A_WHILE_S:g} s'}", tuple(problems))


def _one(found: Begun, file: Path, *, for_good: bool) -> list[str]:
    found.search.go_on()
    found.search.wait_for_worker()
    with locking(file):
        if for_good:
            problems = list(ended_badly(found.search.end(), codes=(2,), words=("locked",)))
        else:
            time.sleep(A_WHILE_S)
    return [*problems, *found.goes_on()] if for_good else found.goes_on()


@contextmanager
def locking(file: Path) -> Iterator[None]:
    """Another process that holds the whole SQLite file for the block."""
    command = [sys.executable, "-c", LOCKER, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            if process.stdout.readline().strip() != "locked":
                raise DidNotHold(f"{file} could not be locked")
            yield
        finally:
            process.stdin.close()

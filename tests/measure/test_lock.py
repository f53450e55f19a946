"""Host-wide locks: exclusive between processes, freed by death, safe in a shared temporary folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autoopt.errors import BusyError, StorageError
from autoopt.measure.lock import host_lock, lock_folder

HOLD = """
import sys, time
from pathlib import Path
from autoopt.measure.lock import host_lock
with host_lock("thing", timeout_s=5, folder=Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def held_by_another_process(folder: Path) -> Iterator[subprocess.Popen[str]]:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield holder
    finally:
        holder.kill()
        holder.communicate()


def test_busy_names_the_holder_and_death_frees(tmp_path: Path) -> None:
    """While another process holds the lock it is busy, by its process id; kill -9 of the holder frees it."""
    with held_by_another_process(tmp_path) as holder:
        with (
            pytest.raises(BusyError, match=f"process {holder.pid} holds 'thing'"),
            host_lock("thing", timeout_s=0, folder=tmp_path),
        ):
            pass
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        with host_lock("thing", timeout_s=0, folder=tmp_path):
            pass


def test_waiting_is_announced_once(tmp_path: Path) -> None:
    """Who has to wait is told for whom, once, and gets the lock when it is free."""
    told: list[int | None] = []
    first, entered = threading.Event(), threading.Event()

    def hold() -> None:
        with host_lock("thing", timeout_s=0, folder=tmp_path):
            entered.set()
            first.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(10)

    def on_wait(holder: int | None) -> None:
        told.append(holder)
        first.set()

    with host_lock("thing", timeout_s=10, on_wait=on_wait, folder=tmp_path):
        pass
    thread.join()
    assert told == [os.getpid()]


def test_an_error_inside_frees_it(tmp_path: Path) -> None:
    """What is raised inside the block passes and the lock is free again; other names never block."""

    def fail() -> None:
        with host_lock("thing", timeout_s=0, folder=tmp_path), host_lock("other", timeout_s=0, folder=tmp_path):
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    with host_lock("thing", timeout_s=0, folder=tmp_path):
        pass


def test_the_folder_is_private(tmp_path: Path) -> None:
    """The folder of the locks is made for this user only; one that others can use, or a link, is refused."""
    folder = lock_folder(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert lock_folder(tmp_path) == folder
    folder.chmod(0o777)
    with pytest.raises(StorageError, match="only this user"):
        lock_folder(tmp_path)
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StorageError, match="only this user"):
        lock_folder(tmp_path)

"""Host-wide locks: one measurement at a time, one writer per study. The kernel frees them when the holder dies."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from autoopt.errors import BusyError, StorageError

_POLL_S = 0.1


@contextmanager
def host_lock(
    name: str, *, timeout_s: float, on_wait: Callable[[int | None], None] | None = None, folder: Path | None = None
) -> Iterator[None]:
    """Hold the lock `name` of this user on this host.

    Waits up to `timeout_s` seconds; where there is something to wait for, `on_wait` is told once, with the process id
    of the holder (None when it is not known). `folder` is where the locks are, by default in the system's temporary
    folder. Raises BusyError naming the holder, StorageError for an unsafe folder.
    """
    place = lock_folder() if folder is None else folder
    descriptor = os.open(place / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        _acquire(descriptor, name, timeout_s, on_wait)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        try:
            yield
        finally:
            # The file stays: removing it would let two processes lock two files of one name.
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def lock_folder(parent: Path | None = None) -> Path:
    """The folder of this user's locks, made if need be.

    Raises StorageError when it is not a folder that this user alone can write to: in a shared
    temporary folder anybody could have made it first.
    """
    path = (parent or Path(tempfile.gettempdir())) / f"autoopt-{os.getuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise StorageError(f"{path} must be a folder for locks ({error.strerror}): remove it or set TMPDIR") from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise StorageError(f"{path} must be a folder that only this user can use, it is not: remove it or set TMPDIR")
    return path


def _acquire(descriptor: int, name: str, timeout_s: float, on_wait: Callable[[int | None], None] | None) -> None:
    deadline = time.monotonic() + timeout_s
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            holder = _holder(descriptor)
        left = deadline - time.monotonic()
        if left <= 0:
            who = "another process" if holder is None else f"process {holder}"
            raise BusyError(f"{who} holds {name!r} on this host: wait until it ends, or end it")
        if on_wait is not None and not told:
            on_wait(holder)
            told = True
        time.sleep(min(_POLL_S, left))


def _holder(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
    return int(text) if text.isdigit() else None

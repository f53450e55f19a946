"""Temporary folders and files that name their owner, so that what a killed process left is found and removed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

OLD_S = 24 * 3600.0
"""Nothing takes so long: what is older is left behind, also where its owner ran on another system."""
MARK = re.compile(r"^\.?autoopt-([0-9a-f]{8})-(\d+)-(\d+)-")
"""The names of what this module makes: the system, the process and when that was started."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder in the system's temporary folder, which only this user can read; removed after the block."""
    with tempfile.TemporaryDirectory(prefix=f"autoopt-{owner()}-") as folder:
        yield Path(folder)


def hidden_folder(parent: Path) -> Path:
    """A new folder in `parent` that this process will rename or remove."""
    return Path(tempfile.mkdtemp(prefix=f".autoopt-{owner()}-", dir=parent))


def hidden_file(parent: Path) -> tuple[int, Path]:
    """A new file in `parent`, open for writing, that this process will rename or remove: its descriptor and path."""
    descriptor, name = tempfile.mkstemp(prefix=f".autoopt-{owner()}-", dir=parent)
    return descriptor, Path(name)


def remove_left_behind(folder: Path) -> list[Path]:
    """Remove from `folder` what processes made here that do not run any more; returns what was removed.

    Files of other users are left alone. What belongs to another system (a container, another machine that shares the
    folder) goes once it is a day old: whether its owner runs cannot be seen from here.
    """
    removed = []
    for path in folder.iterdir() if folder.is_dir() else ():
        found = MARK.match(path.name)
        with contextlib.suppress(OSError):  # another process was faster
            if found is None or path.lstat().st_uid != os.getuid():
                continue
            system, pid, start = found[1], int(found[2]), int(found[3])
            here = system == _system()
            if (here and _start_of(pid) == start) or (not here and path.lstat().st_mtime > time.time() - OLD_S):
                continue
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            removed.append(path)
    return removed


def owner() -> str:
    """This process: the system it runs on, its id and when it was started, since ids come again."""
    return f"{_system()}-{os.getpid()}-{_start_of(os.getpid())}"


@lru_cache
def _system() -> str:
    """A word that tells apart machines, containers and boots, where the kernel says it."""
    words = [os.uname().nodename]
    with contextlib.suppress(OSError):  # not Linux
        words.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        words.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return hashlib.sha256(" ".join(words).encode()).hexdigest()[:8]


def _start_of(pid: int) -> int | None:
    """When a process was started, in ticks since the boot; 0 where that is not told, None if it is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        if Path("/proc/self/stat").exists():
            return None
    try:
        os.kill(pid, 0)  # not Linux; asks only
    except ProcessLookupError:
        return None
    return 0

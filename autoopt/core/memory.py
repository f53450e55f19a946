"""How much physical memory a stage may hold, and how much a process holds with all that it started.

Read from the kernel in well under a millisecond. Elsewhere than on Linux nothing is known, and nothing limited.
"""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc")
SHARE = 0.75
"""Of the memory that this process may use, what one stage may hold: the rest is for the parent, the resident reference
and the system."""
_REFERENCE_WORKER = 1  # its place in /proc/PID/statm, in pages
_READ_BYTES = 1 << 16


def limit_bytes(usable_bytes: int) -> int | None:
    """What one stage may hold on a host with `usable_bytes`; None where that is not known (0)."""
    return int(SHARE * usable_bytes) if usable_bytes > 0 else None


def held_bytes(pid: int, proc: Path = PROC) -> int:
    """The physical memory of a process and of all it started, each page counted once per process; 0 if unknown.

    Not virtual memory: torch and OpenVINO reserve far more than they use. `proc` is where the kernel tells of
    processes.
    """
    waiting, pages = [pid], 0
    while waiting:
        folder = f"{proc}/{waiting.pop()}"
        fields = _text(f"{folder}/statm").split()
        pages += int(fields[_REFERENCE_WORKER]) if len(fields) > _REFERENCE_WORKER else 0
        for task in _names(f"{folder}/task"):
            waiting += map(int, _text(f"{folder}/task/{task}/children").split())
    return pages * os.sysconf("SC_PAGE_SIZE")


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - a path object for each of a hundred threads costs more than reading
    except OSError:  # the process ended meanwhile
        return []


def _text(path: str) -> str:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, _READ_BYTES).decode()
    except OSError:
        return ""
    finally:
        os.close(descriptor)

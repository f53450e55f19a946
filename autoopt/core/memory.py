"""How much physical memory a stage may hold, and how much a process and all that it started hold now.

Read from the kernel in well under a millisecond. On systems other than Linux nothing is known, and nothing limited.
"""

from __future__ import annotations

import os
from pathlib import Path

from autoopt.core.short_file import read_short

PROC = Path("/proc")
SHARE = 0.75
"""The part of the usable memory that one stage may hold: the rest is for the parent process, the process of the
reference and the system."""
_RESIDENT = 1  # the place of the physical memory, in pages, in /proc/PID/statm


def limit_bytes(usable_bytes: int) -> int | None:
    """What one stage may hold on a host with `usable_bytes` of memory; None where that is not known (0)."""
    return int(SHARE * usable_bytes) if usable_bytes > 0 else None


def held_bytes(pid: int, proc: Path = PROC) -> int:
    """The physical memory of a process and of all its descendants; 0 where it is not known.

    A page that two processes share counts twice. Reserved memory does not count: torch and OpenVINO reserve far more
    than they use. `proc` is where the kernel describes processes.
    """
    waiting, pages = [pid], 0
    while waiting:
        folder = f"{proc}/{waiting.pop()}"
        fields = read_short(f"{folder}/statm").split()
        pages += int(fields[_RESIDENT]) if len(fields) > _RESIDENT else 0
        for task in _names(f"{folder}/task"):
            waiting += map(int, read_short(f"{folder}/task/{task}/children").split())
    return pages * os.sysconf("SC_PAGE_SIZE")


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - a path object for each of a hundred threads costs more than reading
    except OSError:  # the process ended meanwhile
        return []

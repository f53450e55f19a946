"""What the machine lacks, in one sentence: a full disk or too few threads are no fault of a configuration."""

from __future__ import annotations

import errno
import resource
import shutil
import tempfile
from collections.abc import Iterator

FULL = (errno.ENOSPC, errno.EDQUOT)
FILES = (errno.EMFILE, errno.ENFILE)
DISK = (errno.EROFS, errno.EIO)
FULL_WORDS = ("No space left on device", "disk is full", "Disk quota exceeded", "could not extend file")
"""How libraries that raise errors of their own say that a disk is full."""
MEMORY_WORDS = ("failed to map segment from shared object", "Cannot allocate memory")
THREADS_WORDS = ("can't start new thread", "Resource temporarily unavailable")
FILES_WORDS = ("Too many open files",)
LOCKED_WORDS = ("database is locked", "database table is locked")
NO_THREADS = "no further process or thread can be started: allow more with ulimit -u, then run the command again"
NEARLY_NOTHING_BYTES = 10_000_000


def host_problem(error: BaseException) -> str | None:
    """What the host lacks and what to do, where `error` or one that led to it says so; else None."""
    for item in _chain(error):
        number = item.errno if isinstance(item, OSError) else None
        text = str(item)
        if number in FULL or any(word in text for word in FULL_WORDS):
            return f"no room left on the disk{_where(item)}: free some space, then run the command again"
        if number in FILES or any(word in text for word in FILES_WORDS):
            limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            return f"too many open files, {limit} are allowed: allow more with ulimit -n, then run the command again"
        if not isinstance(item, OSError) and any(word in text for word in THREADS_WORDS):
            return NO_THREADS  # an OSError of these words may be of a lock that somebody holds
        if any(word in text for word in LOCKED_WORDS):
            return "another program keeps the database locked: end it, then run the command again"
        if number in DISK:
            return f"the disk{_where(item)} cannot be used ({item}): repair it, then run the command again"
    return None


def own_problem(error: BaseException) -> str | None:
    """`host_problem`, or that this process gets no more memory, processes or threads; None where `error` says neither.

    Not to be asked where the work of one trial is done: there too little memory is the failure of that trial.
    """
    problem = host_problem(error)
    if problem is not None:
        return problem
    for item in _chain(error):
        number = item.errno if isinstance(item, OSError) else None
        text = str(item)
        if number == errno.EAGAIN:
            return NO_THREADS
        if isinstance(item, MemoryError) or number == errno.ENOMEM or any(word in text for word in MEMORY_WORDS):
            limit = resource.getrlimit(resource.RLIMIT_AS)[0]
            most = "" if limit == resource.RLIM_INFINITY else f", {limit / 1e6:.0f} MB are allowed (ulimit -v)"
            return f"no memory is left{most}: free some or allow more, then run the command again"
    return None


def _where(error: BaseException) -> str:
    """The file that could not be written; without one the temporary folder where that is what is full."""
    name = getattr(error, "filename", None)
    if name is not None:
        return f" of {name}"
    try:
        folder = tempfile.gettempdir()
        return f" of {folder}" if shutil.disk_usage(folder).free < NEARLY_NOTHING_BYTES else ""
    except OSError:  # no temporary folder can be written to: that may be the very problem
        return " of the temporary folder"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that led to it."""
    seen: set[int] = set()
    following: list[BaseException | None] = [error]
    while following:
        item = following.pop(0)
        if item is not None and id(item) not in seen:
            seen.add(id(item))
            yield item
            following += [item.__cause__, item.__context__, getattr(item, "orig", None)]

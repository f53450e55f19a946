"""What the machine lacks is told from what a configuration did."""

from __future__ import annotations

import errno
import os
import re
import sqlite3

import pytest

from autoopt.core.host_problem import host_problem, own_problem


def raised(error: BaseException, by: BaseException) -> BaseException:
    """`error`, raised because of `by`."""
    error.__cause__ = by
    return error


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/x/y"), "no room left on the disk of /x/y: free some space"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/x/y"), "no room left on the disk of /x/y"),
        (
            OSError(errno.EMFILE, "Too many open files"),
            r"too many open files, \d+ are allowed: allow more with ulimit -n",
        ),
        (OSError(errno.ENFILE, "Too many open files in system"), "too many open files"),
        (OSError(errno.EROFS, "Read-only file system", "/x"), "the disk of /x cannot be used .*: repair it"),
        (sqlite3.OperationalError("database or disk is full"), "no room left on the disk"),
        (sqlite3.OperationalError("database is locked"), "another program keeps the database locked: end it"),
        (RuntimeError("basic_ios: No space left on device"), "no room left on the disk"),
        (raised(ValueError("it failed"), OSError(errno.EMFILE, "Too many open files")), "too many open files"),
        (
            RuntimeError("Exception from src/inference:117:\nthread creation: Resource temporarily unavailable"),
            "no further process or thread can be started",
        ),
    ],
    ids=str,
)
def test_what_the_machine_lacks_is_said(error: BaseException, words: str) -> None:
    """Also where a library hides it behind an error of its own; the answer says what to do."""
    assert re.match(words, host_problem(error) or "")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOENT, os.strerror(errno.ENOENT), "/x"),
        ValueError("a space is left"),
        MemoryError(),
        KeyError("x"),
        BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)),
    ],
    ids=repr,
)
def test_other_errors_are_not_the_machines(error: BaseException) -> None:
    """A missing file or a fault of a program is told as what it is."""
    assert host_problem(error) is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "no memory is left"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "no memory is left"),
        (ImportError("libx.so: failed to map segment from shared object"), "no memory is left"),
        (BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "no further process or thread can be started"),
        (RuntimeError("can't start new thread"), "no further process or thread can be started"),
        (raised(ValueError("it failed"), MemoryError()), "no memory is left"),
        (KeyError("x"), ""),
    ],
    ids=repr,
)
def test_what_this_process_gets_no_more_of_is_said(error: BaseException, words: str) -> None:
    """Memory, processes and threads of the search itself; other errors are none of these."""
    assert (own_problem(error) or "").startswith(words) and bool(own_problem(error)) == bool(words)

"""Where the commands print to: a terminal, a file or a pipe; its width, and numbers with their units."""

from __future__ import annotations

import ctypes
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from typing import TextIO

from rich.console import Console

WIDTH = 120
"""Characters of a line where there is no terminal, and COLUMNS does not say otherwise."""


def console_of(*, stderr: bool = False) -> Console:
    """A console on standard output or standard error, be it a terminal, a file or a pipe."""
    return Console(stderr=stderr, highlight=False, soft_wrap=True)


@contextmanager
def stdout_alone() -> Iterator[TextIO]:
    """Standard output for its caller alone, while its `with` block runs; what else is written there goes to standard
    error: by libraries and workloads, in Python or C, and by processes that they start."""
    out = sys.stdout
    with redirect_stdout(sys.stderr):
        try:
            descriptor, errors = out.fileno(), sys.stderr.fileno()
        except (OSError, ValueError):  # not that of a process, such as in a test
            yield out
            return
        out.flush()
        kept = os.dup(descriptor)
        os.dup2(errors, descriptor)
        with open(kept, "w", encoding=out.encoding, errors=out.errors) as alone:  # noqa: PTH123 - a descriptor
            try:
                yield alone
            finally:
                out.flush()  # what came through sys.__stdout__, and through C, is still in their buffers
                ctypes.CDLL(None).fflush(None)
                os.dup2(kept, descriptor)


def width_of(console: Console) -> int:
    """The characters of a line: those of the terminal, else of COLUMNS, else `WIDTH`."""
    if console.is_terminal:
        return console.width
    columns = os.environ.get("COLUMNS", "")
    return int(columns) if columns.isdecimal() and int(columns) > 0 else WIDTH


def wrapped(console: Console, text: str, width: int | None = None) -> None:
    """Print lines of at most so many characters, those of the console if None, broken between words."""
    most = width_of(console) if width is None else width
    for line in text.splitlines():
        indent = "" if line[:1] != " " else " " * (len(line) - len(line.lstrip()) + 2)
        kept = line.replace(" %", "\N{NO-BREAK SPACE}%")  # a number stays with its unit
        parts = textwrap.wrap(kept, most, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        console.print("\n".join(parts).replace("\N{NO-BREAK SPACE}%", " %"), markup=False)


def can_redraw(console: Console) -> bool:
    """Whether a line can be drawn over: not in a file or pipe, in the log of a CI, nor on a terminal that is dumb."""
    return console.is_terminal and not console.is_dumb_terminal and not os.environ.get("CI")


def duration(seconds: float) -> str:
    """Seconds as text, such as 4.2 s, 3 min 05 s or 2 h 07 min."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def counts_text(counts: Mapping[str, int]) -> str:
    """Counts by name as text, such as: 2 export, 1 quantize."""
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "none"

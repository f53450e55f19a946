"""A program that keeps a core busy beside a benchmark."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def beside(program: str | None) -> Iterator[None]:
    """Run the Python text `program` in a process of its own while the block runs; nothing when there is none."""
    if program is None:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", program])
    try:
        yield
    finally:
        process.kill()
        process.wait()

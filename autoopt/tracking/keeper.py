"""A program that runs a command and ends it, with all it started, when whoever started this program is gone.

It is run as a file, by its path. Its standard input is a pipe that nobody writes to: the kernel closes it also where
the process at its other end was killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence


def kept(command: Sequence[str]) -> int:
    """Run the command in this process's group, which is its own; returns its exit code, as a shell tells it."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=_end_with_starter, daemon=True).start()
    code = process.wait()
    return code if code >= 0 else 128 - code


def _end_with_starter() -> None:
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(kept(sys.argv[1:]))

"""Short text files, such as those in which the kernel describes processes and processors."""

from __future__ import annotations

import os
from pathlib import Path

MOST_BYTES = 1 << 17
"""Enough for the processors in /proc/stat: the counters behind them are many, and nobody here needs them."""


def read_short(path: Path | str, most_bytes: int = MOST_BYTES) -> str:
    """The text of the first `most_bytes` of a file; empty where the file is missing or must not be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return _read(descriptor, most_bytes).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _read(descriptor: int, most_bytes: int) -> bytes:
    """The kernel hands out some of its files in pieces of a page."""
    text = b""
    while len(text) < most_bytes and (piece := os.read(descriptor, most_bytes - len(text))):
        text += piece
    return text

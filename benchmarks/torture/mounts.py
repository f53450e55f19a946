"""Small disks of their own, where this process may mount: in memory, and full when it is told to fill them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

FILLER = "filler"


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """An empty disk of this size, such as 20m, at the empty `folder` for the block."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=True)  # noqa: S607
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)  # noqa: S607 - the system's own


@lru_cache
def may_mount() -> bool:
    """Whether this process may mount a disk in memory; it tries."""
    with tempfile.TemporaryDirectory(prefix="torture-") as name:
        try:
            with mounted(Path(name), "1m"):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


def fill(folder: Path) -> None:
    """Write a file into `folder` until its disk has no byte left."""
    descriptor = os.open(folder / FILLER, os.O_CREAT | os.O_WRONLY)
    try:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    os.write(descriptor, b"\0" * size)
    finally:
        os.close(descriptor)


def make_room(folder: Path) -> None:
    """Remove what `fill` wrote."""
    (folder / FILLER).unlink()

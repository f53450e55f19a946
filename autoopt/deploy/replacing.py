"""Put a finished folder in the place of another one, so that a reader finds either the old or the new one whole."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

Exchange = Callable[[Path, Path], bool]
"""Swaps two folders in one step; returns False, and changes nothing, where the system cannot."""
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def exchange_folders(one: Path, other: Path) -> bool:
    """Swap two folders in one step with renameat2 of Linux; False where the system cannot do that."""
    if sys.platform != "linux":
        return False
    swap = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return swap is not None and swap(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0


def put_in_place(temporary: Path, final: Path, exchange: Exchange = exchange_folders) -> None:
    """Give the folder `temporary` the name `final`; both are on one file system.

    After `exchange` the replaced folder is at `temporary`. Without it the old folder is renamed first, and gets its
    name back if the second renaming fails. Raises OSError.
    """
    if not final.exists() or not any(final.iterdir()):
        os.rename(temporary, final)
        return
    if exchange(temporary, final):
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{final.name}-", dir=final.parent))
    try:
        os.rename(final, aside / "old")
        try:
            os.rename(temporary, final)
        except OSError:
            os.rename(aside / "old", final)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)

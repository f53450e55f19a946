"""Short files: read whole, and empty where they cannot be read."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from autoopt.core.short_file import MOST_BYTES, read_short


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    """The text comes back whole, whatever bytes are in it; of a long file only its beginning."""
    path = tmp_path / "file"
    path.write_bytes(b"model name\t: a cpu\xff\n")
    assert read_short(path) == "model name\t: a cpu\ufffd\n"
    assert read_short(str(path)) == read_short(path)
    path.write_bytes(b"x" * (MOST_BYTES + 5))
    assert read_short(path) == "x" * MOST_BYTES


def test_what_cannot_be_read_is_empty(tmp_path: Path) -> None:
    """A missing file, and a folder, are empty texts and no errors."""
    assert read_short(tmp_path / "nowhere") == read_short(tmp_path) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_a_file_of_the_kernel_that_comes_in_pieces_is_read_whole() -> None:
    """The kernel hands out the mapped files of a process a page at a time: the last of them is there, too."""
    assert read_short("/proc/self/smaps").count("VmFlags") > 20
    assert f"Pid:\t{os.getpid()}" in read_short("/proc/self/status")

"""What a process and its descendants hold, read from a made-up /proc and from the real one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from autoopt.core.memory import SHARE, held_bytes, limit_bytes

PAGE = os.sysconf("SC_PAGE_SIZE")
HOLDER = "import sys; held = b'x' * int(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


def process(proc: Path, pid: int, pages: int, children: Mapping[int, Sequence[int]]) -> None:
    """One process in a made-up /proc; `children` are those that each of its threads started."""
    for thread, started in children.items():
        folder = proc / str(pid) / "task" / str(thread)
        folder.mkdir(parents=True)
        (folder / "children").write_text("".join(f"{child} " for child in started))
    (proc / str(pid) / "statm").write_text(f"999999 {pages} 5 1 0 300 0\n")


def test_descendants_of_every_thread_count(tmp_path: Path) -> None:
    """A grandchild counts, whichever thread started its parent; a stranger and reserved memory do not."""
    process(tmp_path, 10, 1000, {10: [], 11: [20, 21]})
    process(tmp_path, 20, 200, {20: [30]})
    process(tmp_path, 21, 50, {21: []})
    process(tmp_path, 30, 7, {30: []})
    process(tmp_path, 40, 100_000, {40: []})
    assert held_bytes(10, tmp_path) == 1257 * PAGE
    assert held_bytes(20, tmp_path) == 207 * PAGE


def test_a_process_that_ended_holds_nothing(tmp_path: Path) -> None:
    """What ended before or while it was looked at counts as nothing: no error."""
    process(tmp_path, 10, 1000, {10: [20]})
    assert held_bytes(10, tmp_path) == 1000 * PAGE
    assert held_bytes(11, tmp_path) == 0
    (tmp_path / "10" / "statm").write_text("")
    assert held_bytes(10, tmp_path) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process holds")
def test_what_a_real_process_holds() -> None:
    """Sixty megabytes in a child are seen from its parent, as the child's and as the parent's own."""
    before, size = held_bytes(os.getpid()), 60_000_000
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(size)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        held = held_bytes(child.pid)
        assert size < held < 3 * size
        assert held_bytes(os.getpid()) > before + size
        child.communicate(b"")


def test_the_limit_is_a_share_of_what_may_be_used() -> None:
    """Three quarters of the memory of the host; no limit where that is not known."""
    assert limit_bytes(8_000_000_000) == SHARE * 8_000_000_000 == 6_000_000_000
    assert limit_bytes(0) is None

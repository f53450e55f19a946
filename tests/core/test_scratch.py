"""Temporary folders and files that name their owner."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autoopt.core import scratch
from autoopt.core.scratch import hidden_file, hidden_folder, owner, remove_left_behind, scratch_folder

LEAVE = """
import os, sys
from pathlib import Path
from autoopt.core.scratch import hidden_file, hidden_folder
folder = hidden_folder(Path(sys.argv[1]))
(folder / "patient.json").write_text("a score")
hidden_file(Path(sys.argv[1]))
os._exit(1)
"""


def test_a_scratch_folder_is_private_and_gone_afterwards() -> None:
    """Only this user can look into it, and nothing is left after the block, also after an error."""
    used: list[Path] = []

    def use() -> None:
        with scratch_folder() as folder:
            used.append(folder)
            assert folder.stat().st_mode & 0o077 == 0
            (folder / "a").touch()
            raise KeyError

    with pytest.raises(KeyError):
        use()
    assert used and not used[0].exists()


def test_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    """Folders and files of a process that is gone are removed; those of this process, and all else, stay."""
    mine, (descriptor, file) = hidden_folder(tmp_path), hidden_file(tmp_path)
    os.close(descriptor)
    others = [tmp_path / "autoopt-notes", tmp_path / ".autoopt-1-2", tmp_path / "study.db"]
    for path in others:
        path.touch()
    subprocess.run([sys.executable, "-c", LEAVE, str(tmp_path)], check=False)
    assert len(list(tmp_path.iterdir())) == 2 + 3 + 2
    assert len(remove_left_behind(tmp_path)) == 2
    assert sorted(tmp_path.iterdir()) == sorted([mine, file, *others])
    assert remove_left_behind(tmp_path) == [] == remove_left_behind(tmp_path / "nowhere")


def test_an_id_that_came_again_is_another_process(tmp_path: Path) -> None:
    """A process with the id of the owner that was started at another time is not the owner."""
    system, pid, start = owner().split("-")
    left = tmp_path / f".autoopt-{system}-{pid}-{int(start) + 1}-x"
    left.mkdir()
    assert remove_left_behind(tmp_path) == [left]


def test_what_belongs_to_another_system_goes_once_it_is_old(tmp_path: Path) -> None:
    """A container that shares the folder may be at work with it: only after a day it is taken for left behind."""
    left = tmp_path / ".autoopt-01234567-1-1-x"
    left.mkdir()
    assert remove_left_behind(tmp_path) == []
    old = time.time() - scratch.OLD_S - 1
    os.utime(left, (old, old))
    assert remove_left_behind(tmp_path) == [left]


def test_a_link_is_removed_and_not_followed(tmp_path: Path) -> None:
    """Whoever puts a link under such a name loses the link, not what it points to."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "a").touch()
    system = owner().partition("-")[0]
    (tmp_path / f".autoopt-{system}-999999999-1-x").symlink_to(kept)
    assert len(remove_left_behind(tmp_path)) == 1
    assert (kept / "a").exists()

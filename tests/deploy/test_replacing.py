"""A folder takes another one's place, or the other one stays."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from autoopt.deploy.replacing import exchange_folders, put_in_place


def folder(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "file").write_text(text)
    return path


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux swaps two folders in one step")
def test_two_folders_are_swapped(tmp_path: Path) -> None:
    """After an exchange each name has the other's content."""
    one, other = folder(tmp_path / "one", "1"), folder(tmp_path / "other", "2")

    assert exchange_folders(one, other)
    assert ((one / "file").read_text(), (other / "file").read_text()) == ("2", "1")
    assert not exchange_folders(one, tmp_path / "nothing")


def test_without_an_exchange_the_old_folder_stays_if_the_new_one_is_lost(tmp_path: Path) -> None:
    """Where folders cannot be swapped and the second renaming fails, the old folder has its name back."""
    final = folder(tmp_path / "final", "old")

    with pytest.raises(FileNotFoundError):
        put_in_place(tmp_path / "lost", final, lambda one, other: False)
    assert (final / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["final"]

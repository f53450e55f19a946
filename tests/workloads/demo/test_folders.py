"""Folders of demo data: whole or not there, made again when their generator changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autoopt.errors import StorageError
from autoopt.workloads.demo.folders import write_demo


def fill(folder: Path) -> str:
    (folder / "a.txt").write_text("a")
    return "digest"


def test_written_once(tmp_path: Path) -> None:
    """A folder that is there is left alone, one of another version is replaced."""
    folder = tmp_path / "home" / "demo"
    write_demo(folder, "toy", 1, fill)
    assert json.loads((folder / "demo.json").read_text()) == {
        "generator": "toy",
        "version": 1,
        "demo": True,
        "digest": "digest",
    }
    (folder / "a.txt").write_text("touched")
    write_demo(folder, "toy", 1, fill)
    assert (folder / "a.txt").read_text() == "touched"
    write_demo(folder, "toy", 2, fill)
    assert (folder / "a.txt").read_text() == "a"
    assert [path.name for path in folder.parent.iterdir()] == ["demo"]


@pytest.mark.parametrize("card", [None, "{", "[]", '{"generator": "toy", "version": 0}'])
def test_unfinished_folder_is_replaced(tmp_path: Path, card: str | None) -> None:
    """A folder that is not this version's complete one is made anew, with nothing of it left."""
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "stale.txt").write_text("old")
    if card is not None:
        (folder / "demo.json").write_text(card)
    write_demo(folder, "toy", 1, fill)
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "demo.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_interrupted_making_leaves_nothing(tmp_path: Path) -> None:
    """When making ends half-way there is no folder, not even a temporary one."""

    def broken(folder: Path) -> str:
        fill(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_demo(tmp_path / "demo", "toy", 1, broken)
    assert list(tmp_path.iterdir()) == []


def test_another_process_may_be_first(tmp_path: Path) -> None:
    """Where another process made the folder in the meantime, its folder is as good."""

    def slow(folder: Path) -> str:
        write_demo(tmp_path / "demo", "toy", 1, fill)
        return fill(folder)

    write_demo(tmp_path / "demo", "toy", 1, slow)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    """What the system says is passed on with the folder and the room that is needed."""

    def full(folder: Path) -> str:
        raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match=r"needs a writable folder with 60 MB free: .*demo gave No space left"):
        write_demo(tmp_path / "demo", "toy", 1, full)
    assert list(tmp_path.iterdir()) == []

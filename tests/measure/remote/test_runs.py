"""Runs by name: once each, kept until they are told, and not for ever."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from autoopt.errors import Crash, TargetLost
from autoopt.measure.remote.runs import OLD_S, Runs

NAME = "ab" * 16


def test_once(tmp_path: Path) -> None:
    """What ended is not done again until it is told; what failed, and what was forgotten, is."""
    runs, done = Runs(tmp_path / "runs"), []

    def work(folder: Path) -> dict[str, Any]:
        done.append(folder)
        (folder / "00000.npy").write_bytes(b"x")
        return {"found": len(done)}

    def fail(folder: Path) -> dict[str, Any]:
        raise Crash("it failed")

    with pytest.raises(Crash):
        runs.once(NAME, fail)
    for _ in range(2):
        answer, files = runs.once(NAME, work)
        assert answer == {"found": 1} and [path.read_bytes() for path in files] == [b"x"]
    runs.forget([NAME])
    assert runs.once(NAME, work)[0] == {"found": 2}


def test_interrupted(tmp_path: Path) -> None:
    """A run that began and did not end is never done again under its name."""
    (tmp_path / NAME).mkdir()
    (tmp_path / NAME / "begun").touch()
    with pytest.raises(TargetLost, match="did not end it"):
        Runs(tmp_path).once(NAME, lambda folder: {})


def test_old_ones(tmp_path: Path) -> None:
    """Results that nobody asked for in a week are removed."""
    runs = Runs(tmp_path)
    for name in (NAME, "cd" * 16):
        runs.once(name, lambda folder: {})
    os.utime(tmp_path / NAME, (0, time.time() - OLD_S - 60))
    runs.forget_old()
    assert [path.name for path in tmp_path.iterdir()] == ["cd" * 16]

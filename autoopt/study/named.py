"""Stored studies by the name that a user types: of this home folder, or HOME/STUDY of another one."""

from __future__ import annotations

from pathlib import Path

from autoopt.core.urls import sqlite_url
from autoopt.errors import NoStudy
from autoopt.study.result import StudyResult
from autoopt.study.storage import read_study


def place_of(name: str) -> tuple[Path | None, str]:
    """`STUDY` or `HOME/STUDY` as (home folder or None, study). Raises NoStudy where no study is named."""
    home, slash, study = name.rpartition("/")
    if not study:
        raise NoStudy("a name must follow the home folder" if slash else "a name must not be empty")
    return (Path(home) if home else None), study


def named_study(name: str, url: str) -> StudyResult:
    """The study called `name` in the storage at `url`, or `HOME/STUDY` of another home folder.

    Raises NoStudy where there is none, StorageError for a storage that cannot be read.
    """
    home, study = place_of(name)
    return read_study(url if home is None else sqlite_url(home / "study.db"), study)

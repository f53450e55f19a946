"""A sink: one line of a text file for everything that it hears."""

from __future__ import annotations

from pathlib import Path

from autoopt.core.records import TrialRecord
from autoopt.study.result import StudyResult


class Diary:
    """Writes what a search tells it to a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _write(self, line: str) -> None:
        with self._path.open("a") as stream:
            stream.write(f"{line}\n")

    def check(self) -> None:
        """A file can always be written."""

    def open(self, study: StudyResult) -> set[int]:
        """It begins anew each time."""
        self._write(f"open {study.card.name}")
        return set()

    def trial(self, record: TrialRecord, study: StudyResult) -> None:
        """A line for a trial."""
        self._write(f"trial {record.number} {record.status}")

    def changed(self, study: StudyResult) -> None:
        """A line for the front."""
        self._write(f"front {len(study.front)}")

    def close(self, state: str) -> None:
        """The last line."""
        self._write(f"close {state}")

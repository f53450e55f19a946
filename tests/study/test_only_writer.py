"""Who may write a study."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from autoopt.errors import StorageError
from autoopt.study.only_writer import only_writer
from autoopt.study.postgresql import with_driver


def test_a_file_is_written_by_one_process(tmp_path: Path) -> None:
    """Another process is refused while the lock is held, for this study only, and is let in afterwards."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    code = f"from autoopt.study.only_writer import only_writer\nwith only_writer({url!r}, 's'): print('in')"
    command = [sys.executable, "-c", code]
    with only_writer(url, "s"):
        refused = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "BusyError: study s is being searched" in refused.stderr and not refused.stdout
        with only_writer(url, "other"):
            pass
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "in\n"


def test_an_error_inside_gives_the_lock_back(tmp_path: Path) -> None:
    """What goes wrong in the block passes as it is."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    with pytest.raises(KeyError), only_writer(url, "s"):
        raise KeyError
    with only_writer(url, "s"):
        pass


def test_a_folder_that_cannot_hold_it_is_named(tmp_path: Path) -> None:
    """Where no file can be made that is said, and what must hold."""
    (tmp_path / "file").touch()
    with (
        pytest.raises(StorageError, match="must be a folder that can be written to"),
        only_writer(f"sqlite:///{tmp_path / 'file' / 'study.db'}", "s"),
    ):
        pass


def test_a_server_that_is_not_there_is_named_without_its_password() -> None:
    """PostgreSQL is asked for its lock; what it answers is one error."""
    with (
        pytest.raises(StorageError, match=r"postgresql\+psycopg://\*\*\*@127.0.0.1:1/db cannot be used") as caught,
        only_writer("postgresql://me:secret@127.0.0.1:1/db", "s"),
    ):
        pass
    assert "secret" not in str(caught.value)


def test_memory_and_other_databases_have_no_lock() -> None:
    """There the lease is all there is."""
    with only_writer("sqlite:///:memory:", "s"), only_writer("sqlite:///:memory:", "s"):
        pass


@pytest.mark.parametrize(
    ("url", "driven"),
    [
        ("postgresql://h/db", "postgresql+psycopg://h/db"),
        ("postgres://h/db", "postgresql+psycopg://h/db"),
        ("postgresql+asyncpg://h/db", "postgresql+asyncpg://h/db"),
        ("sqlite:///x.db", "sqlite:///x.db"),
    ],
)
def test_the_driver_is_ours_unless_named(url: str, driven: str) -> None:
    """A URL as PostgreSQL's own tools take it works."""
    assert with_driver(url) == driven

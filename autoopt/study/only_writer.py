"""One writer for each study: a lock file beside a SQLite file, an advisory lock in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from autoopt.core.configuration import digest
from autoopt.core.urls import sqlite_file
from autoopt.errors import BusyError, StorageError
from autoopt.measure.lock import host_lock
from autoopt.study.postgresql import advisory_lock, is_postgresql, with_driver


@dataclass(frozen=True)
class Writer:
    """The right to write a study. `check` raises StorageError where it was lost; ask before every write.

    With `decides` the lock reaches all machines: who has it may write, whatever the study says of others.
    """

    check: Callable[[], None] = lambda: None
    decides: bool = False


@contextmanager
def only_writer(url: str, study: str) -> Iterator[Writer]:
    """Hold the right to write a study in the storage at `url`.

    Kernel or server free it when this process, or its connection, dies. Other databases have no such lock: there the
    lease of the study is all there is. Raises BusyError when another process holds it, StorageError when the storage
    cannot be used.
    """
    url = with_driver(url)
    if is_postgresql(url):
        with advisory_lock(url, study) as lock:
            yield Writer(lock.check, decides=True)
    elif (file := sqlite_file(url)) is not None:
        with ExitStack() as held:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                name = f"{file.name}.{digest(study)[:12]}"
                held.enter_context(host_lock(name, timeout_s=0, folder=file.parent))
            except OSError as error:
                raise StorageError(f"{file.parent} must be a folder that can be written to: {error}") from error
            except BusyError as error:
                raise BusyError(f"study {study} is being searched: {error}") from error
            yield Writer()
    else:
        yield Writer()

"""One writer for each study: a lock file beside a SQLite file, an advisory lock in PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from autoopt.core.configuration import digest
from autoopt.core.urls import sqlite_file, without_secrets
from autoopt.errors import BusyError, StorageError
from autoopt.measure.lock import host_lock

POSTGRESQL = "postgresql"


@contextmanager
def only_writer(url: str, study: str) -> Iterator[None]:
    """Hold the right to write a study in the storage at `url`.

    Kernel or server free it when this process, or its connection, dies. Other databases have no such lock: there the
    lease of the study is all there is. Raises BusyError when another process holds it, StorageError when the storage
    cannot be used.
    """
    url = with_driver(url)
    if url.startswith(POSTGRESQL):
        with _advisory_lock(url, study):
            yield
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
            yield
    else:
        yield


def with_driver(url: str) -> str:
    """The URL with the driver that this package installs: SQLAlchemy's default for PostgreSQL is another one."""
    for plain in ("postgresql://", "postgres://"):
        if url.startswith(plain):
            return f"postgresql+psycopg://{url.removeprefix(plain)}"
    return url


@contextmanager
def _advisory_lock(url: str, study: str) -> Iterator[None]:
    """An advisory lock that lasts as long as a connection of its own (PostgreSQL 9.6 and later)."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool, isolation_level="AUTOCOMMIT")
    try:
        connection = engine.connect()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        reason = (str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__])[0]
        raise StorageError(f"the study storage {without_secrets(url)} cannot be used ({reason})") from error
    with connection:
        ask = sqlalchemy.text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
        if not connection.execute(ask, {"name": f"autoopt:{study}"}).scalar():
            raise BusyError(f"study {study} is being searched by another process: wait for it, or use another --study")
        yield

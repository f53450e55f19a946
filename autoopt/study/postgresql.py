"""Studies in PostgreSQL: how its server is reached, the lock that one writer has, how the connection is protected."""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autoopt.core.urls import without_secrets
from autoopt.errors import BusyError, StorageError

if TYPE_CHECKING:
    import sqlalchemy

POSTGRESQL, DRIVER = "postgresql", "postgresql+psycopg://"
KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
"""A server that cannot be reached any more is noticed within a minute (seconds; the last one in milliseconds)."""
ITS_KEEPALIVE = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}
"""The same of the server: so soon it frees the lock of a driver without power or network."""
_ASK = """
SELECT current_user, ssl, version, cipher, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()
"""
_log = logging.getLogger("autoopt")


@dataclass(frozen=True)
class Connection:
    """How the server sees a connection, and where it is.

    `user` is who it says we are, `protocol` and `cipher` those of TLS, None without, `certificate` the subject of the
    client's certificate, None where it asked for none. `address` is the server's, empty for a socket file.
    """

    user: str
    protocol: str | None
    cipher: str | None
    certificate: str | None
    address: str

    @property
    def in_words(self) -> str:
        """One line: encrypted or not, with what, and who the server says we are."""
        inside = "" if self.warning else ", it stays on this machine"
        how = f"encrypted ({self.protocol}, {self.cipher})" if self.protocol else f"not encrypted{inside}"
        who = f"by the certificate {self.certificate}" if self.certificate else "without a client certificate"
        return f"{how}; the server says we are {self.user}, {who}"

    @property
    def warning(self) -> str:
        """What to know of a connection that others can read; empty where it is encrypted or stays on this machine."""
        if self.protocol or _stays_here(self.address):
            return ""
        return (
            f"the connection to the study storage at {self.address} is not encrypted, whoever is in between can read "
            "and change it: add ?sslmode=verify-full&sslrootcert=CA.pem to its URL"
        )


class Lock:
    """A lock that the server frees when this connection, or its process, dies."""

    def __init__(self, connection: sqlalchemy.Connection, place: str) -> None:
        self._connection, self._place = connection, place
        self._one_at_a_time = threading.Lock()

    def check(self) -> None:
        """Raise StorageError where the connection is gone, and the lock with it: somebody else may write since."""
        import sqlalchemy

        with self._one_at_a_time:
            try:
                self._connection.execute(sqlalchemy.text("SELECT 1"))
            except sqlalchemy.exc.SQLAlchemyError as error:
                raise StorageError(
                    f"the connection to the study storage {self._place} was lost ({_reason(error)}): this search "
                    "stops, its trials until then are stored. Run the same command again when the server can be reached"
                ) from error


def is_postgresql(url: str) -> bool:
    """Whether a URL, as `with_driver` gives it, is of PostgreSQL."""
    return url.startswith(POSTGRESQL)


def with_driver(url: str) -> str:
    """The URL with the driver that this package installs: SQLAlchemy's default for PostgreSQL is another one."""
    for plain in ("postgresql://", "postgres://"):
        if url.startswith(plain):
            return f"{DRIVER}{url.removeprefix(plain)}"
    return url


def arguments(url: str) -> dict[str, Any]:
    """What a connection is opened with besides its URL, which is stronger."""
    import sqlalchemy

    if not url.startswith(DRIVER):
        return {}
    given = sqlalchemy.make_url(url).query
    return {name: value for name, value in KEEPALIVE.items() if name not in given}


@contextmanager
def advisory_lock(url: str, study: str) -> Iterator[Lock]:
    """A lock that lasts as long as a connection of its own (PostgreSQL 9.6 and later).

    A connection that others can read is warned of. Raises BusyError where another process has it, StorageError.
    """
    import sqlalchemy

    place = without_secrets(url)
    with _connected(url) as connection:
        if said := _seen(connection).warning:
            _log.warning("autoopt: %s", said)
        ask = sqlalchemy.text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
        for name, value in ITS_KEEPALIVE.items():
            connection.execute(sqlalchemy.text(f"SET {name} = {value}"))
        if not connection.execute(ask, {"name": f"autoopt:{study}"}).scalar():
            raise BusyError(f"study {study} is being searched by another process: wait for it, or use another --study")
        yield Lock(connection, place)


def connection_to(url: str) -> Connection:
    """How a connection to a server is protected. Raises StorageError where there is none."""
    with _connected(with_driver(url)) as connection:
        return _seen(connection)


@contextmanager
def _connected(url: str) -> Iterator[sqlalchemy.Connection]:
    import sqlalchemy

    settings = {"poolclass": sqlalchemy.pool.NullPool, "isolation_level": "AUTOCOMMIT"}
    try:
        engine = sqlalchemy.create_engine(url, connect_args=arguments(url), **settings)
        connection = engine.connect()
    except (sqlalchemy.exc.SQLAlchemyError, ImportError) as error:
        raise StorageError(f"the study storage {without_secrets(url)} cannot be used ({_reason(error)})") from error
    with connection:
        yield connection


def _seen(connection: sqlalchemy.Connection) -> Connection:
    import sqlalchemy

    user, encrypted, protocol, cipher, certificate = connection.execute(sqlalchemy.text(_ASK)).one()
    info = getattr(connection.connection.dbapi_connection, "info", None)
    address = str(getattr(info, "hostaddr", "") or "")
    return Connection(user, protocol if encrypted else None, cipher, certificate, address)


def _stays_here(address: str) -> bool:
    """Whether nothing leaves this machine: the address is loopback, or none at all but a socket file."""
    try:
        return ipaddress.ip_address(address.partition("%")[0]).is_loopback
    except ValueError:
        return True


def _reason(error: BaseException) -> str:
    """The first line of what the driver says, without what may be secret."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
    return without_secrets(lines[0])

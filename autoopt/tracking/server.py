"""How a tracking server or database is reached: quietly, without telemetry, and without waiting minutes for nobody."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from autoopt.core.host_problem import own_problem
from autoopt.core.urls import sqlite_url, without_secrets
from autoopt.errors import StorageError, TrackingError

if TYPE_CHECKING:
    from mlflow import MlflowClient

SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https")
DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""Set where the user has not set them, before MLflow is imported: it reads the telemetry switch only then."""
FIRST_CONTACT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "8",
    "PGCONNECT_TIMEOUT": "8",
}
"""How patient the first request is: a server that is not there must be named within seconds."""
_LIBRARIES = frozenset(
    {"mlflow", "sqlalchemy", "alembic", "sqlite3", "requests", "urllib3", "psycopg", "psycopg2", "pymysql"}
)
_NOISY = ("alembic", "mlflow.store.db.utils", "mlflow.utils.requirements_utils", "urllib3.connectionpool")


def default_tracking_uri(home: Path) -> str:
    """The tracking URI of a home folder: SQLite."""
    return sqlite_url(home / "mlflow.db")


def check_tracking(uri: str) -> None:
    """Raise TrackingError when the tracking server or database at `uri` cannot be used."""
    connect(uri)


def is_server(uri: str) -> bool:
    """Whether `uri` is a tracking server, which decides itself where artifacts go."""
    return urlsplit(uri).scheme in ("http", "https")


def connect(uri: str) -> MlflowClient:
    """A client of the server or database at `uri` that has answered once. Raises TrackingError within seconds."""
    scheme = uri.partition(":")[0].partition("+")[0]
    if scheme not in SCHEMES or "://" not in uri:
        forms = ", ".join(f"{name}://..." for name in SCHEMES)
        raise TrackingError(f"--tracking-uri must be one of {forms}, got {without_secrets(uri)!r}")
    _set_defaults()  # before the block, after which they must be there
    with tracking_errors(uri), _environment(FIRST_CONTACT):
        while _warming:
            _warming.pop().finish()
        warm_up()
        import mlflow

        for logger in _NOISY:  # after the import, which configures them; errors are raised
            logging.getLogger(logger).setLevel(logging.CRITICAL)
        with _one_attempt():
            client = mlflow.MlflowClient(tracking_uri=uri)
            client.search_experiments(max_results=1)
        return client


@contextmanager
def tracking_errors(uri: str) -> Iterator[None]:
    """Turn what MLflow, its database and its HTTP client raise in the block into one TrackingError."""
    try:
        yield
    except Exception as error:
        place = without_secrets(uri)
        problem = own_problem(error)
        if problem is not None and not is_server(uri):
            raise StorageError(f"MLflow at {place} cannot be written: {problem}") from error
        ours = type(error).__module__.partition(".")[0] not in _LIBRARIES and not isinstance(
            error, OSError | ImportError
        )
        if ours:
            raise
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise TrackingError(
            f"MLflow at {place} cannot be used ({without_secrets(reason)[:300]}): "
            "check --tracking-uri and that the server runs"
        ) from error


def warm_up() -> None:
    """Import MLflow, which takes seconds, with its telemetry off; `connect` says in its words what is wrong with it."""
    _set_defaults()
    with suppress(ImportError):
        import mlflow.store.tracking.sqlalchemy_store
        import mlflow.tracking.client  # noqa: F401


def _set_defaults() -> None:
    for name, text in DEFAULTS.items():
        os.environ.setdefault(name, text)


class WarmUp(threading.Thread):
    """`work` done while the caller goes on; what goes wrong in it is raised by `finish`, in the caller's thread."""

    def __init__(self, work: Callable[[], None]) -> None:
        super().__init__(name="autoopt-mlflow", daemon=True)
        self._work = work
        self._error: Exception | None = None

    def run(self) -> None:
        """Do the work."""
        try:
            self._work()
        except Exception as error:  # kept for `finish`: a thread could only show a traceback
            self._error = error

    def finish(self) -> None:
        """Wait until it is done. Raises what went wrong, such as too many open files."""
        self.join()
        if self._error is not None:
            raise self._error


_warming: list[WarmUp] = []
_setting = threading.RLock()


def warm_up_in_background() -> None:
    """Begin to import MLflow while the caller goes on; `connect` says what went wrong."""
    _warming.append(WarmUp(warm_up))
    _warming[-1].start()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Set `variables` for the block, one thread at a time; MLflow reads them at every request."""
    with _setting:
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, text in before.items():
                if text is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = text


@contextmanager
def _one_attempt() -> Iterator[None]:
    """Let MLflow try a database once for the block: by itself it tries for 100 seconds, even a wrong password."""
    from mlflow.store.db import utils

    before = utils.MAX_RETRY_COUNT
    utils.MAX_RETRY_COUNT = 1
    try:
        yield
    finally:
        utils.MAX_RETRY_COUNT = before

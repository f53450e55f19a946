"""Which registry an address means: a server, or the database of a home folder."""

from __future__ import annotations

from pathlib import Path

from autoopt.core.urls import sqlite_file, without_secrets
from autoopt.deploy.registry import Registry
from autoopt.errors import TrackingError
from autoopt.tracking.client_registry import ClientRegistry
from autoopt.tracking.server import default_tracking_uri


def registry_at(uri: str | None, home: Path) -> Registry:
    """The registry at `uri`: a server is asked with the standard library, a database with MLflow's own client."""
    if uri is not None and uri.partition(":")[0] in ("http", "https"):
        from autoopt.deploy.mlflow_rest import HttpRegistry

        return HttpRegistry(uri)
    place = uri or default_tracking_uri(home)
    file = sqlite_file(place)
    if file is not None and not file.is_file():
        raise TrackingError(f"MLflow at {without_secrets(place)} is not there: give --tracking-uri http://HOST:PORT")
    return ClientRegistry(place, home)

"""The registry through MLflow's own client: for registering, and for a registry in a database without a server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from autoopt.core.plain_text import short
from autoopt.core.urls import without_secrets
from autoopt.deploy.receive import FolderSource
from autoopt.deploy.registered import BUNDLE, Registered
from autoopt.errors import TrackingError
from autoopt.tracking.relocate import relocate
from autoopt.tracking.server import connect, is_server, tracking_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

PAGE = 1000
MODEL = "models:/"
_ABSENT = "RESOURCE_DOES_NOT_EXIST"


@contextmanager
def registry_client(uri: str) -> Iterator[MlflowClient]:
    """A client of tracking and registry at `uri` that has answered once. Raises TrackingError within seconds."""
    connect(uri)
    import mlflow

    client = mlflow.MlflowClient(uri, registry_uri=uri)
    if is_server(uri):
        yield client
        return
    from mlflow.tracking._tracking_service.utils import _use_tracking_uri

    with _use_tracking_uri(uri):  # MLflow's database looks up a version's model where this says, not where it is
        yield client


def versions(client: MlflowClient, name: str) -> list[Registered]:
    """All versions of a registered model; none where there is no such model."""
    found: list[Registered] = []
    token: str | None = None
    while True:
        page = client.search_model_versions(f"name='{name}'", max_results=PAGE, page_token=token)
        found += map(registered, page)
        token = page.token
        if not token:
            return found


def registered(version: Any) -> Registered:
    """A version as MLflow's client tells it."""
    return Registered.of(version.name, int(version.version), dict(version.tags), str(version.source))


def exists(client: MlflowClient, one: Registered) -> bool:
    """Whether the model of a version was not deleted."""
    from mlflow.exceptions import MlflowException

    if not one.location.startswith(MODEL):
        return True
    try:
        client.get_logged_model(one.location.removeprefix(MODEL))
    except MlflowException as error:
        if error.error_code == _ABSENT:
            return False
        raise
    return True


class ClientRegistry:
    """The registry in the database at `uri`, with its files on this machine; see `registry.Registry`."""

    def __init__(self, uri: str, home: Path) -> None:
        self._uri = uri
        self._place = without_secrets(uri)
        self._client = connect(uri)
        with tracking_errors(uri):
            relocate(uri, home)

    def by_alias(self, name: str, alias: str) -> Registered:
        """The version of a model that has the alias."""
        return self._one(lambda: self._client.get_model_version_by_alias(name, alias), f"{name} with the alias {alias}")

    def by_version(self, name: str, version: int) -> Registered:
        """The version of a model with this number."""
        return self._one(lambda: self._client.get_model_version(name, str(version)), f"version {version} of {name}")

    def versions(self, name: str) -> list[Registered]:
        """All versions of a model."""
        with tracking_errors(self._uri):
            found = versions(self._client, name)
        if not found:
            raise TrackingError(f"MLflow at {self._place} has no model {name}: register a study there first")
        return found

    def files(self, one: Registered) -> FolderSource:
        """The bundle of a version, in the folder where the files of its model lie."""
        what = f"version {one.version} of {one.name}"
        if not one.location.startswith(MODEL) or not exists(self._client, one):
            raise TrackingError(f"{what} in {self._place} is empty: its model was deleted. Register the study again")
        with tracking_errors(self._uri):
            place = self._client.get_logged_model(one.location.removeprefix(MODEL)).artifact_location
        parts = urlsplit(place)
        if parts.scheme not in ("", "file"):
            shown = short(without_secrets(place))
            raise TrackingError(f"{what} is at {shown}, not on this machine: give the URL of the server")
        return FolderSource(Path(unquote(parts.path)) / BUNDLE)

    def _one(self, ask: Any, what: str) -> Registered:
        from mlflow.exceptions import MlflowException

        try:
            return registered(ask())
        except MlflowException as error:
            said = " ".join(str(error).split())[:200]
            raise TrackingError(f"MLflow at {self._place} has no model {what} ({without_secrets(said)})") from error

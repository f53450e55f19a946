"""MLflow's registry over http, with the standard library alone: what `pull` needs on a machine without MLflow."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

from autoopt.core.plain_text import short
from autoopt.core.urls import without_secrets
from autoopt.deploy.http import Refused, Server
from autoopt.deploy.registered import BUNDLE, Registered, as_tags
from autoopt.errors import TrackingError

API = "api/2.0/mlflow"
FILES = "api/2.0/mlflow-artifacts/artifacts"
SERVED = "mlflow-artifacts"
"""The scheme of files that the server hands out itself."""
MODEL = "models:/"
PAGE = "1000"
MOST_PAGES = 100
_ID = re.compile(r"[\w-]{1,100}")
_ABSENT = (400, 404)
T = TypeVar("T")


class HttpRegistry:
    """The registry of the MLflow server at `url`; see `registry.Registry`."""

    def __init__(self, url: str, **options: Any) -> None:
        self._server = Server(url, **options)

    def by_alias(self, name: str, alias: str) -> Registered:
        """The version of a model that has the alias. Raises TrackingError naming the aliases that there are."""
        try:
            found = self._server.json(f"{API}/registered-models/alias", name=name, alias=alias)
        except Refused as error:
            raise self._absent(error, f"model {name} with the alias {short(alias)}", self._aliases(name)) from error
        return self._version(found.get("model_version"))

    def by_version(self, name: str, version: int) -> Registered:
        """The version of a model with this number."""
        try:
            found = self._server.json(f"{API}/model-versions/get", name=name, version=str(version))
        except Refused as error:
            raise self._absent(error, f"version {version} of model {name}") from error
        return self._version(found.get("model_version"))

    def versions(self, name: str) -> list[Registered]:
        """All versions of a model, page by page."""
        query = {"filter": f"name='{name}'", "max_results": PAGE}
        found: list[Registered] = []
        for _ in range(MOST_PAGES):
            try:
                page = self._server.json(f"{API}/model-versions/search", **query)
            except Refused as error:
                raise self._absent(error, f"model {name}") from error
            found += self._page(page)
            token = str(page.get("next_page_token", ""))
            if not token:
                break
            query["page_token"] = token
        if not found:
            raise TrackingError(
                f"MLflow at {self._server.place} has no model {name}: register a study there with "
                "`autoopt register --tracking-uri`"
            )
        return found

    def files(self, one: Registered) -> HttpBundle:
        """The bundle of a version. Raises TrackingError where its model was deleted, or no files are handed out."""
        uri, what = one.location, f"version {one.version} of {one.name}"
        if uri.startswith(MODEL):
            identity = uri.removeprefix(MODEL)
            if not _ID.fullmatch(identity):
                raise TrackingError(f"{what} at {self._server.place} must be of a logged model, it is of {_shown(uri)}")
            try:
                model = self._server.json(f"{API}/logged-models/{identity}")
            except Refused as error:
                raise TrackingError(
                    f"{what} at {self._server.place} is empty: its model was deleted ({identity}). "
                    "Register the study again"
                ) from error
            uri = str(self._whole(lambda: model["model"]["info"]["artifact_uri"]))
        parts = urllib.parse.urlsplit(uri)
        if parts.scheme != SERVED:
            raise TrackingError(
                f"{what} at {self._server.place} must be handed out by the server, its files are at {_shown(uri)}: "
                "start it with `mlflow server --serve-artifacts`, and register the study again"
            )
        if parts.netloc and parts.netloc != self._server.netloc:
            raise TrackingError(f"{what} is kept by another server, {_shown(uri)}: give that one as --tracking-uri")
        folder = parts.path.strip("/")
        if ".." in folder.split("/"):
            raise TrackingError(
                f"{what} at {self._server.place} is at {_shown(uri)}, which leads elsewhere: do not use it"
            )
        return HttpBundle(self._server, f"{folder}/{BUNDLE}", what)

    def _page(self, page: Any) -> list[Registered]:
        return [self._version(item) for item in self._whole(lambda: list(page.get("model_versions", [])))]

    def _version(self, found: Any) -> Registered:
        def read() -> Registered:
            return Registered.of(
                str(found["name"]), int(found["version"]), as_tags(found.get("tags")), str(found.get("source", ""))
            )

        return self._whole(read)

    def _whole(self, read: Callable[[], T]) -> T:
        """What `read` finds in an answer. Raises TrackingError for one that lacks it."""
        try:
            return read()
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise TrackingError(
                f"MLflow at {self._server.place} answered without {short(str(error))}: is it another version?"
            ) from error

    def _absent(self, error: Refused, what: str, more: str = "") -> TrackingError:
        if error.status in _ABSENT:
            return TrackingError(f"MLflow at {self._server.place} has no {what} ({error.message}){more}")
        return TrackingError(f"MLflow at {self._server.place} failed with HTTP {error.status} ({error.message})")

    def _aliases(self, name: str) -> str:
        """The end of a sentence that names the aliases of a model, where it can be asked."""
        try:
            found = self._server.json(f"{API}/registered-models/get", name=name)
            names = sorted(str(item["alias"]) for item in found["registered_model"].get("aliases", []))
        except (Refused, KeyError, TypeError, AttributeError):
            return ""
        return f": it has {', '.join(names) or 'none'}"


class HttpBundle:
    """The bundle of a version at a server; see `receive.Source`."""

    def __init__(self, server: Server, folder: str, what: str) -> None:
        self._server = server
        self._folder = folder
        self._what = what

    def __str__(self) -> str:
        return f"{self._what} at {self._server.place}"

    def holds(self, name: str) -> bool:
        """False: what is registered is what `register` makes, which nobody signed yet."""
        return False

    def copy(self, name: str, most_bytes: int, into: BinaryIO) -> None:
        """Download one file. Raises TrackingError where it is not there, BundleError where it is too long."""
        path = f"{FILES}/{urllib.parse.quote(f'{self._folder}/{name}')}"
        try:
            self._server.copy(path, most_bytes, into, f"{name} of {self._what}")
        except Refused as error:
            raise TrackingError(
                f"{self} lacks {name} (HTTP {error.status}: {error.message}): was its model deleted, or is the server "
                "without --serve-artifacts? Register the study again"
            ) from error


def _shown(uri: str) -> str:
    return short(without_secrets(uri))

"""GET over http with the standard library alone: bounded, with a password only for the host that it is meant for."""

from __future__ import annotations

import base64
import http.client
import os
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from autoopt.core.plain_text import parse_json
from autoopt.core.urls import without_secrets
from autoopt.deploy.receive import copy_bounded
from autoopt.errors import TrackingError

USER, PASSWORD, TOKEN = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN"
CERTIFICATES = "MLFLOW_TRACKING_SERVER_CERT_PATH"
"""The variables of the environment that MLflow's own client reads, too."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Hosts that no proxy can reach for us."""
TIMEOUT_S = 30.0
"""How long a server may say nothing."""
MOST_ANSWER_BYTES = 32_000_000
MOST_ERROR_BYTES = 100_000
_SHOWN = 200
_SET = f"set {USER} and {PASSWORD}, or {TOKEN}"


class Refused(Exception):
    """The server answered with an error: `status` of http, MLflow's `code`, and its own words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class Server:
    """The MLflow server at `url`. Raises TrackingError for a URL that is none, or holds a password."""

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self.place = without_secrets(url)
        try:
            parts = urllib.parse.urlsplit(url)
            _ = parts.port  # raises ValueError for what is no number
        except ValueError as error:
            raise TrackingError(f"--tracking-uri must be the URL of a server, got {self.place!r}: {error}") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise TrackingError(f"--tracking-uri must be http://HOST:PORT or https://HOST, got {self.place!r}")
        if "@" in parts.netloc:
            raise TrackingError(f"--tracking-uri must hold no user and no password, {self.place} does: {_SET}")
        self._base = url.rstrip("/")
        self.netloc = parts.netloc
        self._timeout_s = timeout_s
        handlers: list[Any] = [_Redirects(_authorization())]
        if parts.hostname in LOOPBACK:
            handlers.append(urllib.request.ProxyHandler({}))
        if certificates := os.environ.get(CERTIFICATES):
            try:
                handlers.append(urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=certificates)))
            except (OSError, ssl.SSLError) as error:
                raise TrackingError(f"{CERTIFICATES} must name a file of certificates: {error}") from error
        self._opener = urllib.request.build_opener(*handlers)

    def json(self, path: str, **query: str) -> Any:
        """The JSON that a path answers with. Raises Refused, TrackingError."""
        text = f"?{urllib.parse.urlencode(query)}" if query else ""
        with self._open(f"{path}{text}") as answer:
            data = answer.read(MOST_ANSWER_BYTES + 1)
        try:
            found = parse_json(data) if len(data) <= MOST_ANSWER_BYTES else None
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise TrackingError(
                f"{self.place} must be an MLflow server, it answered with something else: check --tracking-uri"
            )
        return found

    def copy(self, path: str, most_bytes: int, into: BinaryIO, what: str) -> None:
        """Write the file that a path answers with. Raises Refused, TrackingError, BundleError for a longer one."""
        with self._open(path) as answer:
            copied = copy_bounded(answer, into, most_bytes, f"{what} at {self.place}")
            if answer.announced is not None and answer.announced != copied:
                raise TrackingError(
                    f"{self.place} ended the download of {what} after {copied} of {answer.announced} bytes: "
                    "run the command again"
                )

    @contextmanager
    def _open(self, path: str) -> Iterator[_Answer]:
        url = f"{self._base}/{path}"  # http or https, as __init__ made sure
        request = urllib.request.Request(url, headers={"User-Agent": "autoopt"})  # noqa: S310
        try:
            response = self._opener.open(request, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            raise self._refused(error) from error
        except (OSError, http.client.HTTPException) as error:
            raise unusable(self.place, error) from error
        with response:
            yield _Answer(response, self.place)

    def _refused(self, error: urllib.error.HTTPError) -> Exception:
        with error:
            try:
                told = parse_json(error.read(MOST_ERROR_BYTES))
            except (OSError, ValueError, http.client.HTTPException):
                told = {}
        found = told if isinstance(told, dict) else {}
        if error.code in (401, 403):
            given = "they are not accepted" if _authorization() else "none are set"
            return TrackingError(f"MLflow at {self.place} asks for credentials (HTTP {error.code}), {given}: {_SET}")
        message = without_secrets(" ".join(str(found.get("message", "")).split()))[:_SHOWN]
        return Refused(error.code, str(found.get("error_code", "")), message or str(error.reason)[:_SHOWN])


class _Answer:
    """What a server answers, read bit by bit; what goes wrong meanwhile is a TrackingError."""

    def __init__(self, response: Any, place: str) -> None:
        self._response = response
        self._place = place
        length = response.headers.get("Content-Length", "")
        self.announced = int(length) if length.isdigit() else None

    def read(self, most_bytes: int) -> bytes:
        """The next bytes, none at the end."""
        try:
            return bytes(self._response.read(most_bytes))
        except (OSError, http.client.HTTPException) as error:
            raise unusable(self._place, error) from error


def unusable(place: str, error: Exception) -> TrackingError:
    """That the server at `place` cannot be used, and why."""
    reason = getattr(error, "reason", None) or error
    said = without_secrets(str(reason) or type(error).__name__)[:_SHOWN]
    return TrackingError(f"MLflow at {place} cannot be used ({said}): check --tracking-uri and that the server runs")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Sends the password with every request to the first host, and to no other one that it sends us to."""

    def __init__(self, authorization: str) -> None:
        self._authorization = authorization

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        """Add the password to the first request."""
        if self._authorization and not hasattr(request, "redirect_dict"):
            request.add_unredirected_header("Authorization", self._authorization)
        return request

    https_request = http_request

    def redirect_request(
        self, request: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The next request; never from https to http, and with the password only to the same host and port."""
        before, after = urllib.parse.urlsplit(request.full_url), urllib.parse.urlsplit(newurl)
        if after.scheme not in ("http", "https") or (before.scheme == "https" and after.scheme == "http"):
            raise urllib.error.URLError(
                f"it leads from {before.scheme} to {after.scheme or 'nothing'}, which is not followed"
            )
        following = super().redirect_request(request, fp, code, msg, headers, newurl)
        same = (before.scheme, before.netloc) == (after.scheme, after.netloc)
        if following is not None and same and request.has_header("Authorization"):
            following.add_unredirected_header("Authorization", self._authorization)
        return following


def _authorization() -> str:
    """The header that says who asks, from the environment; empty where nothing is set."""
    user, password, token = (os.environ.get(name, "") for name in (USER, PASSWORD, TOKEN))
    if user and password:
        return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
    return f"Bearer {token}" if token else ""

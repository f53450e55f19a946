"""A small server of one bundle: Open Inference Protocol v2 over HTTP, with health and metrics.

It has neither passwords nor TLS, and is meant for programs of the same machine or behind a proxy that has both. Web
pages cannot ask it: what a browser sends without asking first has another content type.
"""

from __future__ import annotations

import json
import logging
import socket
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore
from typing import Any

from autoopt.deploy.metrics import Metrics
from autoopt.deploy.protocol import BINARY, LENGTH, MessageError, decode, encode
from autoopt.deploy.served import Served
from autoopt.errors import UsageError

_log = logging.getLogger("autoopt")

MOST_BODY_BYTES = 1_000_000_000
MOST_CONNECTIONS = 64
"""Connections that are open at once; each has a thread."""
MOST_WAITING = 16
"""Requests that wait for the model or are answered; more are told to come back."""
IDLE_S = 30.0
"""A connection on which nothing comes for so long is closed."""
TYPES = ("application/json", "application/octet-stream")
"""Content types of requests."""


Reply = tuple[HTTPStatus, bytes, dict[str, str]]
"""The status, the body and the headers of an answer."""


class Refused(Exception):
    """A request that is answered with an HTTP status other than 200."""

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


class Server(ThreadingHTTPServer):
    """Serves `models` at `host`:`port` (0: a free one, see `port`) until `shutdown`.

    `about` are facts for the metrics; `most_waiting` and `idle_s` are as the constants say. Raises UsageError.
    """

    daemon_threads = True
    request_queue_size = MOST_CONNECTIONS

    def __init__(
        self,
        models: Mapping[str, Served],
        host: str,
        port: int,
        about: Mapping[str, str],
        *,
        most_waiting: int = MOST_WAITING,
        idle_s: float = IDLE_S,
    ) -> None:
        self.models, self.metrics, self.idle_s = dict(models), Metrics(about), idle_s
        self.waiting = BoundedSemaphore(most_waiting)
        self._connections = BoundedSemaphore(MOST_CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise UsageError(f"port {port} of {host} must be free and allowed, it is not: {reason}") from error

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start a thread for a connection, unless too many are open."""
        if not self._connections.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer the requests of a connection."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is logged."""
        _log.debug("a connection ended early", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "autoopt", ""
    # An answer goes in one piece and at once: in two, the second waits 40 ms for the client to confirm the first.
    wbufsize, disable_nagle_algorithm = -1, True

    def setup(self) -> None:
        """A connection on which nothing comes is closed in time."""
        super().setup()
        self.connection.settimeout(self.server.idle_s)

    def do_GET(self) -> None:
        """Health, metadata and metrics."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Inference."""
        self._answer(self._post)

    def log_message(self, *about: Any) -> None:
        """Requests are counted (/metrics), not logged."""

    def _answer(self, how: Callable[[], Reply]) -> None:
        try:
            status, body, headers = how()
        except Refused as refused:
            status, headers = refused.status, {"Content-Type": "application/json"}
            body = json.dumps({"error": refused.text}).encode()
            self.close_connection = True  # what is left of its body is not read
        except Exception as error:  # the server goes on whatever a model raises
            _log.error("a request failed: %s: %s", type(error).__name__, error)
            status, headers = HTTPStatus.INTERNAL_SERVER_ERROR, {"Content-Type": "application/json"}
            body = json.dumps({"error": "the model failed; the log of the server says why"}).encode()
            self.close_connection = True
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _get(self) -> Reply:
        if self._parts == ["metrics"]:
            return HTTPStatus.OK, self.server.metrics.text().encode(), {"Content-Type": "text/plain; version=0.0.4"}
        match self._parts:
            case ["v2"]:
                found: dict[str, Any] = {"name": "autoopt", "version": "2", "extensions": [BINARY]}
            case ["v2", "health", "live"]:
                found = {"live": True}
            case ["v2", "health", "ready"]:
                found = {"ready": True}
            case ["v2", "models"]:
                found = {"models": list(self.server.models)}
            case ["v2", "models", name, *version, "ready"] if version in ([], ["versions", "1"]):
                found = {"name": self._model(name).name, "ready": True}
            case ["v2", "models", name, *version] if version in ([], ["versions", "1"]):
                found = self._model(name).metadata()
            case _:
                raise Refused(HTTPStatus.NOT_FOUND, "there is no such address; /v2/models lists the models")
        return HTTPStatus.OK, json.dumps(found).encode(), {"Content-Type": "application/json"}

    def _post(self) -> Reply:
        match self._parts:
            case ["v2", "models", name, *version, "infer"] if version in ([], ["versions", "1"]):
                model = self._model(name)
            case _:
                raise Refused(HTTPStatus.NOT_FOUND, "requests go to /v2/models/NAME/infer")
        if not self.server.waiting.acquire(blocking=False):
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "too many requests wait: come back later")
        began, status = time.perf_counter(), HTTPStatus.INTERNAL_SERVER_ERROR
        try:
            message = decode(self._body(), self.headers.get(LENGTH), "inputs")
            body, length = encode(model.infer(message), "outputs", {"model_name": model.name, "model_version": "1"})
            status = HTTPStatus.OK
        except MessageError as error:
            status = HTTPStatus.BAD_REQUEST
            raise Refused(status, str(error)) from error
        except Refused as refused:
            status = refused.status
            raise
        finally:
            self.server.waiting.release()
            self.server.metrics.count(model.name, status.value, time.perf_counter() - began)
        binary = {LENGTH: str(length), "Content-Type": "application/octet-stream"}
        return HTTPStatus.OK, body, {"Content-Type": "application/json"} if length is None else binary

    def _body(self) -> bytes:
        kind = str(self.headers.get("Content-Type", "")).partition(";")[0].strip().lower()
        if kind not in TYPES:
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the content type must be {' or '.join(TYPES)}")
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit() or self.headers.get("Transfer-Encoding"):
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "a request must say its Content-Length, and come in one piece")
        if len(length) > 12 or int(length) > MOST_BODY_BYTES:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request may have {MOST_BODY_BYTES} bytes")
        try:
            body = self.rfile.read(int(length))
        except TimeoutError as error:
            raise Refused(HTTPStatus.REQUEST_TIMEOUT, f"nothing came for {self.server.idle_s:g} s") from error
        if len(body) < int(length):
            raise Refused(HTTPStatus.BAD_REQUEST, "the request ended before its Content-Length")
        return body

    @property
    def _parts(self) -> list[str]:
        return self.path.partition("?")[0].strip("/").split("/")

    def _model(self, name: str) -> Served:
        found = self.server.models.get(name)
        if found is None:
            raise Refused(HTTPStatus.NOT_FOUND, f"there is no such model: {', '.join(self.server.models)} are served")
        return found

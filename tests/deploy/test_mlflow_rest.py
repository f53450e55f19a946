"""What a server that misbehaves may do to a pull: nothing but one sentence."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from autoopt.deploy import http
from autoopt.deploy.mlflow_rest import HttpRegistry
from autoopt.deploy.receive import receive
from autoopt.deploy.registered import Registered
from autoopt.errors import BundleError, TrackingError

Answer = Callable[[BaseHTTPRequestHandler], None]
SECRET = "geheim"
ONE = Registered.of("autoopt-histo", 3, {}, "mlflow-artifacts:/1/models/m-1/artifacts")


@contextmanager
def server(answer: Answer) -> Iterator[str]:
    """The URL of a server on loopback that answers each GET by `answer`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()


def say(
    handler: BaseHTTPRequestHandler, body: Any, status: int = 200, length: int | None = None, **headers: str
) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(data) if length is None else length))
    for name, text in headers.items():
        handler.send_header(name, text)
    handler.end_headers()
    handler.wfile.write(data)


def files_of(bundle: Path) -> Answer:
    """Serves the files of a bundle, whatever stands before their names."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        say(handler, (bundle / handler.path.partition("/artifacts/bundle/")[2]).read_bytes())

    return answer


def test_all_pages_are_read() -> None:
    """The versions of a model come page by page, and none is left out."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        page = int(parse_qs(urlsplit(handler.path).query).get("page_token", ["0"])[0])
        found = [{"name": "n", "version": str(3 * page + index), "tags": [], "source": "s"} for index in range(3)]
        say(handler, {"model_versions": found, "next_page_token": str(page + 1) if page < 3 else ""})

    with server(answer) as url:
        assert [one.version for one in HttpRegistry(url).versions("n")] == list(range(12))


@pytest.mark.parametrize(
    ("credentials", "expected"),
    [
        ({http.USER: "me", http.PASSWORD: SECRET}, f"Basic {base64.b64encode(b'me:geheim').decode()}"),
        ({http.TOKEN: SECRET}, f"Bearer {SECRET}"),
    ],
)
def test_a_password_goes_to_no_other_host(
    monkeypatch: pytest.MonkeyPatch, credentials: dict[str, str], expected: str
) -> None:
    """The credentials of the environment are sent, also after a redirect to the same host, to no other one."""
    for name, text in credentials.items():
        monkeypatch.setenv(name, text)
    seen: list[tuple[str, str | None]] = []

    def other(handler: BaseHTTPRequestHandler) -> None:
        seen.append(("other", handler.headers.get("Authorization")))
        say(handler, {"model_version": {"name": "n", "version": "1"}})

    def first(handler: BaseHTTPRequestHandler) -> None:
        seen.append(("first", handler.headers.get("Authorization")))
        again = f"{handler.path}&again=1"
        say(handler, b"", 302, Location=f"{elsewhere}/x" if "again" in handler.path else again)

    with server(other) as elsewhere, server(first) as url:
        assert HttpRegistry(url).by_version("n", 1).version == 1
    assert seen == [("first", expected), ("first", expected), ("other", None)]


def test_no_proxy_is_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server on loopback is reached also where a proxy is set for all of http."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    with server(lambda handler: say(handler, {"model_version": {"name": "n", "version": "1"}})) as url:
        assert HttpRegistry(url).by_version("n", 1).version == 1


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_to_something_else_than_http_is_not_followed(target: str) -> None:
    """A server cannot make the client read a local file."""
    with server(lambda handler: say(handler, b"", 302, Location=target)) as url, pytest.raises(TrackingError):
        HttpRegistry(url).by_version("n", 1)


def test_missing_credentials_are_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP 401 names the variables, and never what is in them."""
    with server(lambda handler: say(handler, {"message": f"no, {SECRET}"}, 401)) as url:
        with pytest.raises(TrackingError, match=r"asks for credentials.*none are set.*MLFLOW_TRACKING_USERNAME"):
            HttpRegistry(url).versions("n")
        monkeypatch.setenv(http.TOKEN, SECRET)
        with pytest.raises(TrackingError, match="they are not accepted") as raised:
            HttpRegistry(url).versions("n")
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"<html>", 200, "must be an MLflow server"),
        (b"[" * 100_000, 200, "must be an MLflow server"),
        ([], 200, "must be an MLflow server"),
        ({}, 200, "is it another version"),
        ({"model_version": {"name": "n", "version": "x"}}, 200, "is it another version"),
        ({"error_code": "INTERNAL_ERROR", "message": "oh"}, 500, r"failed with HTTP 500 \(oh\)"),
        (b"", 404, "has no version 1 of model n"),
    ],
)
def test_an_answer_that_is_none_is_one_sentence(body: Any, status: int, words: str) -> None:
    """Whatever a server says instead of a version is a TrackingError with its address."""
    with server(lambda handler: say(handler, body, status)) as url, pytest.raises(TrackingError, match=words) as raised:
        HttpRegistry(url).by_version("n", 1)
    assert url in str(raised.value)


def test_a_bundle_is_downloaded_file_by_file(bundle: Path, tmp_path: Path) -> None:
    """Only what bundle.json lists is asked for."""
    with server(files_of(bundle)) as url:
        folder = receive(HttpRegistry(url).files(ONE), tmp_path / "out")
    assert (folder / "model" / "more" / "notes.txt").read_text() == "below a folder"


def test_a_download_that_ends_early_is_told(bundle: Path, tmp_path: Path) -> None:
    """A connection that closes in the middle of a file leaves nothing, and says how far it came."""

    def cut(handler: BaseHTTPRequestHandler) -> None:
        data = (bundle / handler.path.partition("/artifacts/bundle/")[2]).read_bytes()
        if handler.path.endswith("fake.json"):
            say(handler, data[:-2], length=len(data))
            handler.close_connection = True
        else:
            say(handler, data)

    with server(cut) as url, pytest.raises(TrackingError, match=r"ended the download of model/fake.json"):
        receive(HttpRegistry(url).files(ONE), tmp_path / "out" / "deploy")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_without_an_end_is_not_read_to_it(bundle: Path, tmp_path: Path) -> None:
    """A server that sends more than bundle.json says is left after that."""

    def endless(handler: BaseHTTPRequestHandler) -> None:
        if not handler.path.endswith("fake.json"):
            files_of(bundle)(handler)
            return
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(bytes(1 << 16))
        except OSError:
            pass

    with server(endless) as url, pytest.raises(BundleError, match=r"must have at most \d+ bytes, it has more"):
        receive(HttpRegistry(url).files(ONE), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("s3://bucket/1/models/m-1/artifacts", r"start it with `mlflow server --serve-artifacts`"),
        ("file:///home/me/artifacts", r"start it with `mlflow server --serve-artifacts`"),
        ("mlflow-artifacts:/1/../../m-1/artifacts", "leads elsewhere"),
        ("mlflow-artifacts://another:5000/1/models/m-1/artifacts", "kept by another server"),
        ("models:/../../x", "must be of a logged model"),
    ],
)
def test_files_that_the_server_does_not_hand_out_are_told(location: str, words: str) -> None:
    """Where the files of a model cannot be had over http the sentence says what the server needs."""
    with server(lambda handler: say(handler, {})) as url, pytest.raises(TrackingError, match=words):
        HttpRegistry(url).files(Registered.of("autoopt-histo", 3, {}, location))


def test_a_silent_server_is_not_waited_for_without_end() -> None:
    """A server that accepts and says nothing is given up after its time."""
    release = threading.Event()
    with server(lambda handler: (release.wait(10), None)[1]) as url:
        with pytest.raises(TrackingError, match=r"cannot be used .*timed out"):
            HttpRegistry(url, timeout_s=0.2).versions("n")
        release.set()


@pytest.mark.parametrize("url", ["http://", "ftp://host", "http://host:99999999", "http://host/?token=geheim"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    """Only http and https with a host, and without a query."""
    with pytest.raises(TrackingError, match="--tracking-uri must be") as raised:
        HttpRegistry(url)
    assert SECRET not in str(raised.value)

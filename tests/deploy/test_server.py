"""A bundle behind HTTP: it answers as the bundle does, and what does not fit is refused in words."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autoopt
from autoopt.commands.serve import is_loopback
from autoopt.core.store import Store
from autoopt.deploy.layout import pipeline_of, read_card
from autoopt.deploy.predictor import Predictor, load
from autoopt.deploy.protocol import LENGTH, Message, decode, encode
from autoopt.deploy.remote import TOKEN, RemoteSession
from autoopt.deploy.served import AFFINE, Described, Served, served
from autoopt.deploy.server import Server
from autoopt.errors import BundleError, UsageError
from tests.deploy.bundles import build_openvino, image, write

JSON = "application/json"


@contextmanager
def serving(models: Predictor | dict[str, Served], **more: Any) -> Iterator[Server]:
    """A server of a loaded bundle, or of models, at a free port of this machine."""
    models = served(models) if isinstance(models, Predictor) else models
    with Server(models, "127.0.0.1", 0, {"workload": "tiny", "demo": "true"}, **more) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def predictor(bundle: Path) -> Iterator[Predictor]:
    with load(bundle, stand_ins=True) as found:
        yield found


@pytest.fixture
def server(predictor: Predictor) -> Iterator[Server]:
    with serving(predictor) as found:
        yield found


def asked(
    server: Server, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("GET" if body is None else "POST", path, body, given)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def inferred(server: Server, model: str, message: Message) -> np.ndarray:
    """The answer of a model to a message, by binary tensors or as numbers in JSON."""
    body, length = encode(message, "inputs")
    headers = {"Content_Type": JSON} if length is None else {"Content_Type": "application/octet-stream"}
    headers |= {} if length is None else {LENGTH.replace("-", "_"): str(length)}
    status, data, found = asked(server, f"/v2/models/{model}/infer", body, **headers)
    assert status == 200, data
    answer = decode(data, found.get(LENGTH), "outputs")
    assert answer.binary is message.binary and answer.id == message.id
    return answer.tensors["answer"]


@pytest.mark.parametrize("binary", [True, False], ids=["bytes", "numbers"])
def test_an_image_has_the_answer_of_the_bundle(server: Server, predictor: Predictor, binary: bool) -> None:
    """The whole model answers to an image of any size bit for bit as `predict` does."""
    for shape in ((24, 20), (7, 31)):
        picture = image(shape)
        found = inferred(server, "tiny", Message({"image": picture}, "an id", binary=binary))
        assert found.dtype == np.uint8 and np.array_equal(found, predictor.predict(picture))


def test_it_says_what_it_is(server: Server) -> None:
    """Health, the models and their tensors, the extension of the protocol."""
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/tiny/ready", "/v2/models/tiny/versions/1/ready"):
        assert asked(server, path)[0] == 200
    assert json.loads(asked(server, "/v2")[1])["extensions"] == ["binary_tensor_data"]
    assert json.loads(asked(server, "/v2/models")[1]) == {"models": ["tiny", "tiny-graph"]}
    whole = json.loads(asked(server, "/v2/models/tiny")[1])
    assert whole["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, -1, 3]}]
    assert whole["outputs"] == [{"name": "answer", "datatype": "UINT8", "shape": [-1, -1]}]
    network = json.loads(asked(server, "/v2/models/tiny-graph/versions/1")[1])
    assert network["inputs"] == [{"name": "input", "datatype": "FP32", "shape": [1, 3, 16, 16]}]


def message(array: np.ndarray, **more: object) -> bytes:
    return encode(replace(Message({"image": array}, binary=False), **more), "inputs")[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "said"),
    [
        ("/", None, {}, 404, "/v2/models"),
        ("/v2/models/other", None, {}, 404, "tiny, tiny-graph"),
        ("/v2/models/tiny", b"{}", {"Content_Type": JSON}, 404, "/infer"),
        ("/v2/models/tiny/infer", b"{}", {}, 415, "content type"),
        ("/v2/models/tiny/infer", b"{}", {"Content_Type": "text/plain"}, 415, "content type"),
        ("/v2/models/tiny/infer", b"{}", {"Content_Type": JSON, "Content_Length": "99999999999"}, 413, "bytes"),
        ("/v2/models/tiny/infer", b"{}", {"Content_Type": JSON, "Transfer_Encoding": "chunked"}, 411, "one piece"),
        ("/v2/models/tiny/infer", b"no", {"Content_Type": JSON}, 400, "must begin with JSON"),
        (
            "/v2/models/tiny/infer",
            message(np.zeros((4, 4), np.uint8)),
            {"Content_Type": JSON},
            400,
            "must have the shape",
        ),
        ("/v2/models/tiny/infer", message(np.full((4, 4, 3), 0.7)), {"Content_Type": JSON}, 400, "never converted"),
        (
            "/v2/models/tiny/infer",
            message(np.full((4, 4, 3), np.nan, np.float32)),
            {"Content_Type": JSON},
            400,
            "finite",
        ),
        (
            "/v2/models/tiny/infer",
            message(np.zeros((4, 4, 3), np.uint8), parameters={AFFINE: [1, 2]}),
            {"Content_Type": JSON},
            400,
            "16 numbers",
        ),
        ("/v2/models/tiny-graph/infer", message(np.zeros((1, 3, 16, 16))), {"Content_Type": JSON}, 400, "called input"),
    ],
)
def test_what_does_not_fit_is_refused(
    server: Server, path: str, body: bytes | None, headers: dict[str, str], status: int, said: str
) -> None:
    """Each refusal has the status and the reason, shows no value of an image, and the server goes on."""
    found, data, _ = asked(server, path, body, **headers)
    assert (found, said in json.loads(data)["error"]) == (status, True), data
    assert b"0.7" not in data
    assert asked(server, "/v2/health/ready")[0] == 200


def test_pictures_of_8_bits_have_no_other_type(predictor: Predictor) -> None:
    """A model of such pictures refuses floats, which would be taken for black, and says what it takes."""
    pictures = Predictor(predictor.info, replace(predictor.pipeline, scale=255.0), predictor._session)  # type: ignore[arg-type]
    with serving(pictures) as server:
        whole = json.loads(asked(server, "/v2/models/tiny")[1])
        assert whole["inputs"][0]["datatype"] == "UINT8"
        status, data, _ = asked(server, "/v2/models/tiny/infer", message(image()), Content_Type=JSON)
        assert status == 400 and b"must have a datatype of UINT8, it has FP32" in data


def test_numbers_are_said_to_be_numbers(predictor: Predictor) -> None:
    """The answer of a regression and of a classification is described as the floats that it is, one a class."""
    for task, activation in (("regression", "identity"), ("classification", "softmax")):
        pipeline = replace(predictor.pipeline, task=task, activation=activation)  # type: ignore[arg-type]
        model = served(Predictor(predictor.info, pipeline, predictor._session))["tiny"]
        assert model.metadata()["outputs"] == [{"name": "answer", "datatype": "FP32", "shape": [pipeline.classes]}]


def test_requests_are_counted(server: Server) -> None:
    """Metrics tell requests by model and status, and how long they took."""
    inferred(server, "tiny", Message({"image": image()}))
    asked(server, "/v2/models/tiny/infer", b"no", Content_Type=JSON)
    text = asked(server, "/metrics")[1].decode()
    assert 'autoopt_bundle_info{workload="tiny",demo="true"} 1' in text
    assert 'autoopt_requests_total{model="tiny",status="200"} 1' in text
    assert 'autoopt_requests_total{model="tiny",status="400"} 1' in text
    assert 'autoopt_request_seconds_count{model="tiny"} 2' in text
    assert 'autoopt_request_seconds_bucket{model="tiny",le="+Inf"} 2' in text


def test_many_ask_at_once(server: Server, predictor: Predictor) -> None:
    """Requests that come together are answered each with its own answer."""
    pictures, found = [image((8 + index, 9)) for index in range(12)], dict[int, np.ndarray]()

    def ask(index: int) -> None:
        found[index] = inferred(server, "tiny", Message({"image": pictures[index]}))

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(found[index], predictor.predict(picture)) for index, picture in enumerate(pictures))


def model_that(answer: Callable[[], np.ndarray]) -> dict[str, Served]:
    """A model that takes anything and does as it is told."""
    given = Described("image", ("FP32",), (-1, -1, 3))
    return {"tiny": Served("tiny", given, Described("answer", ("FP32",), (1,)), lambda array, more: answer())}


def test_a_full_server_says_so() -> None:
    """Where too many wait, the next is told to come back."""
    begun, go_on = threading.Event(), threading.Event()

    def waits() -> np.ndarray:
        begun.set()
        assert go_on.wait(30)
        return np.zeros(1, np.float32)

    with serving(model_that(waits), most_waiting=1) as server:
        first = threading.Thread(
            target=asked, args=(server, "/v2/models/tiny/infer", message(image())), kwargs={"Content_Type": JSON}
        )
        first.start()
        assert begun.wait(30)
        status, data, _ = asked(server, "/v2/models/tiny/infer", message(image()), Content_Type=JSON)
        go_on.set()
        first.join()
        assert status == 503 and b"come back" in data
        assert asked(server, "/v2/models/tiny/infer", message(image()), Content_Type=JSON)[0] == 200


def test_a_model_that_fails_ends_no_server() -> None:
    """What a model raises is an error of the server, without its text, and the next request is answered."""

    def fails() -> np.ndarray:
        raise ZeroDivisionError("a secret of the model")

    with serving(model_that(fails)) as server:
        status, data, _ = asked(server, "/v2/models/tiny/infer", message(image()), Content_Type=JSON)
        assert status == 500 and b"secret" not in data
        assert asked(server, "/v2/health/live")[0] == 200


def test_a_port_that_is_taken_is_refused(server: Server, predictor: Predictor) -> None:
    """The message names the port and the reason."""
    with pytest.raises(UsageError, match=f"port {server.port} of 127.0.0.1 must be free"):
        Server(served(predictor), "127.0.0.1", server.port, {})
    with pytest.raises(UsageError, match="port 99999"):
        Server(served(predictor), "127.0.0.1", 99999, {})


def test_a_request_that_ends_early_is_dropped(predictor: Predictor) -> None:
    """A client that says more than it sends, and goes, costs nothing but its connection."""
    with serving(predictor, idle_s=0.2) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"POST /v2/models/tiny/infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
            client.sendall(b"Content-Length: 100\r\n\r\n{")
            assert b"408" in client.recv(1000)
        assert asked(server, "/v2/health/live")[0] == 200


def test_a_remote_session_answers_as_the_local_one(tmp_path: Path) -> None:
    """The pipeline of a bundle around its network at a server gives the same answers bit for bit."""
    pytest.importorskip("openvino")
    artifact = Store(tmp_path / "store").put("model", "ov", {}, build_openvino)
    settings = {"name": "openvino", "precision": "f32", "threads": 1, "streams": 1}
    folder = write(tmp_path / "deploy", artifact, settings)  # type: ignore[arg-type]
    card = read_card(folder)
    pipeline = pipeline_of(folder, card)
    with load(folder) as local, serving(local) as server:
        session = RemoteSession(f"http://127.0.0.1:{server.port}", "tiny-graph", pipeline)
        with Predictor(card, pipeline, session) as remote:
            for shape in ((24, 20), (40, 17)):
                assert np.array_equal(remote.predict(image(shape)), local.predict(image(shape)))
            tile = np.random.default_rng(1).normal(size=pipeline.input_shape).astype(np.float32)
            assert remote.call(tile).tobytes() == local.call(tile).tobytes()


def test_another_network_at_the_server_is_refused(server: Server, predictor: Predictor) -> None:
    """A network of another shape, one that is not there, a server that is none, and a wrong address."""
    url, pipeline = f"http://127.0.0.1:{server.port}", predictor.pipeline
    with pytest.raises(BundleError, match="must be FP32 of shape"):
        RemoteSession(url, "tiny-graph", replace(pipeline, tile=(32, 32)))
    with pytest.raises(BundleError, match=r"answered 404: .*there is no such model"):
        RemoteSession(url, "other", pipeline)
    with pytest.raises(BundleError, match="must answer, it does not"):
        RemoteSession("http://127.0.0.1:1", "tiny-graph", pipeline)
    for wrong in ("ftp://host", "host:80", "http://user:secret@host", "http://host:99999"):
        with pytest.raises(UsageError, match="a server must") as caught:
            RemoteSession(wrong, "tiny-graph", pipeline)
        assert "secret" not in str(caught.value)


def test_a_token_goes_with_the_request(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read from the environment, sent as a bearer token, and shown in no message."""
    seen = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization"))
            self.send_error(401)

        def log_message(self, *about: object) -> None:
            """Nothing is logged."""

    monkeypatch.setenv(TOKEN, "a-secret")
    with HTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with pytest.raises(BundleError, match="answered 401: no reason is given") as caught:
            RemoteSession(f"http://127.0.0.1:{server.server_port}", "tiny-graph", predictor.pipeline)
        thread.join()
    assert seen == ["Bearer a-secret"] and "a-secret" not in str(caught.value)


def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    """`autoopt serve` says where it listens, answers there, and ends by Ctrl-C."""
    pytest.importorskip("openvino")
    artifact = Store(tmp_path / "store").put("model", "ov", {}, build_openvino)
    folder = write(tmp_path / "deploy", artifact, {"name": "openvino", "precision": "f32", "threads": 1, "streams": 1})
    root = str(Path(autoopt.__file__).parent.parent)
    command = [sys.executable, "-u", "-m", "autoopt", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": root}) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline().split("127.0.0.1:")[1].split()[0])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", "/v2/models/tiny")
        assert json.loads(connection.getresponse().read())["platform"] == "autoopt"
        connection.close()
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 130


def test_what_is_loopback() -> None:
    """Only addresses that no other machine reaches need no warning."""
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.4", "clinic-1", "")))

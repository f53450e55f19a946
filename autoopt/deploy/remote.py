"""A session that asks a server: the network of a bundle runs there, its pipeline here.

Any server of the Open Inference Protocol v2 that has the same graph will do: `autoopt serve`, OpenVINO Model Server,
Triton, KServe.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np

from autoopt.core.configuration import Scalar
from autoopt.core.plain_text import parse_json, short
from autoopt.deploy.protocol import DATATYPES, LENGTH, Message, MessageError, decode, encode
from autoopt.errors import BundleError, UsageError
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.runtimes.layers import Layer

TOKEN = "AUTOOPT_SERVER_TOKEN"  # noqa: S105 - the name of a variable
"""The environment variable with a token, which goes as a bearer token with each request and is shown nowhere."""
TIMEOUT_S = 60.0
MOST_ANSWER_BYTES = 2_000_000_000


class RemoteSession:
    """The network `model` at the server `url`; see `Session`.

    Raises UsageError for an address that is none, BundleError where the server cannot be asked or has another network.
    """

    def __init__(self, url: str, model: str, pipeline: Pipeline, *, timeout_s: float = TIMEOUT_S) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
            raise UsageError("a server must be http(s)://HOST[:PORT], without user, password and query")
        self._where = f"{parts.scheme}://{parts.netloc}"
        self._path = f"{parts.path.rstrip('/')}/v2/models/{quote(model, safe='')}"
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        try:
            self._connection = kind(parts.hostname, parts.port, timeout=timeout_s)
        except ValueError as error:
            raise UsageError(f"a server must have a port from 0 to 65535, got {short(url)}") from error
        pixels = "UINT8" if pipeline.takes_pixels else "FP32"
        try:
            described = self._json("GET", self._path)
            self._input = _described(described, "inputs", pixels, pipeline.input_shape)
            self._output = _described(described, "outputs", None, pipeline.output_shape)
        except BundleError:
            self.close()
            raise

    def run(self, batch: np.ndarray) -> np.ndarray:
        """One call of the network; see `Session.run`. Raises BundleError when the server does not answer it."""
        body, length = encode(Message({self._input: batch}), "inputs")
        headers = {LENGTH: str(length), "Content-Type": "application/octet-stream"}
        data, given = self._asked("POST", f"{self._path}/infer", body, headers)
        try:
            answer = decode(data, given, "outputs")
        except MessageError as error:
            raise BundleError(f"{self._where} must answer in the protocol, it does not: {error}") from error
        if self._output not in answer.tensors:
            raise BundleError(f"{self._where} must answer with {self._output}, it has {short(list(answer.tensors))}")
        return answer.tensors[self._output]

    def effective(self) -> dict[str, Scalar]:
        """Nothing is known of what the server does."""
        return {"precision": None, "threads": None, "streams": None, "kernels": None, "low_precision_share": None}

    def profile(self, batch: np.ndarray, calls: int) -> list[Layer]:
        """The server tells nothing of layers: none."""
        return []

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _json(self, method: str, path: str) -> Mapping[str, Any]:
        data, _ = self._asked(method, path, None, {})
        try:
            found = parse_json(data)
        except ValueError as error:
            raise BundleError(f"{self._where} must answer in JSON, it does not") from error
        if not isinstance(found, Mapping):
            raise BundleError(f"{self._where} must describe the model in JSON, it does not")
        return found

    def _asked(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[bytes, str | None]:
        """The body of the answer, and the length of its JSON where tensors follow."""
        token = os.environ.get(TOKEN)
        given = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
        for last in (False, True):
            try:
                self._connection.request(method, path, body, given)
                answer = self._connection.getresponse()
                data = answer.read(MOST_ANSWER_BYTES)
                break
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if last or not isinstance(error, ConnectionError):  # the server may have closed an idle connection
                    reason = str(error) or type(error).__name__
                    raise BundleError(f"{self._where} must answer, it does not: {reason}") from error
        if answer.status != http.client.OK:
            raise BundleError(f"{self._where}{path} answered {answer.status}: {_reason(data)}")
        return data, answer.getheader(LENGTH)


def _described(described: Mapping[str, Any], kind: str, wanted: str | None, shape: tuple[int, ...]) -> str:
    """The name of the one tensor of the model, if it has the type and the shape. Raises BundleError."""
    tensors = described.get(kind)
    entry = tensors[0] if isinstance(tensors, list) and len(tensors) == 1 else None
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
        raise BundleError(f"the model of the server must have one tensor of {kind}, it describes {short(tensors)}")
    got, sizes = entry.get("datatype"), entry.get("shape")
    fits = isinstance(sizes, list) and len(sizes) == len(shape)
    fits = fits and all(int(size) in (-1, wanted) for size, wanted in zip(sizes or (), shape, strict=True))
    if not fits or got not in DATATYPES or wanted not in (None, got):
        raise BundleError(
            f"the {kind} of the model at the server must be {wanted or 'numbers'} of shape {list(shape)}, as those of "
            f"the bundle are: they are {short(got)} of shape {short(sizes)}"
        )
    return str(entry["name"])


def _reason(data: bytes) -> str:
    try:
        found = parse_json(data)
        return short(str(found.get("error", ""))) if isinstance(found, Mapping) else "no reason is given"
    except ValueError:
        return "no reason is given"

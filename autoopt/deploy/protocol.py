"""Messages of the Open Inference Protocol v2 over HTTP, as KServe, Triton and OpenVINO Model Server speak it.

A request and its answer are JSON; with binary tensors their bytes follow the JSON, little-endian in C order, and the
header `LENGTH` says where they begin (https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol,
the extension binary_tensor_data). Pure functions of bytes: what comes from outside is checked before it is used.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autoopt.core.plain_text import parse_json, short

LENGTH = "Inference-Header-Content-Length"
"""The HTTP header with the length of the JSON where binary tensors follow it."""
BINARY = "binary_tensor_data"
"""The name of the extension."""
DATATYPES: Mapping[str, str] = {
    "BOOL": "?",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""The datatypes of the protocol, and what numpy calls them."""
MOST_AXES = 8
MOST_TENSORS = 16
MOST_ID = 200
MOST_VALUES = 1 << 31
"""Of a tensor."""


class MessageError(ValueError):
    """A message that breaks the protocol; the text says what must hold, and holds no value of a tensor."""


@dataclass(frozen=True)
class Message:
    """A request or an answer: its tensors by name, in order, and what else stands in it."""

    tensors: Mapping[str, np.ndarray]
    id: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    binary: bool = True
    """Whether its tensors came as bytes, or the answer to it is to have them so."""


def datatype(array: np.ndarray) -> str:
    """The protocol's name of the type of an array. Raises MessageError for one that it does not have."""
    for name, code in DATATYPES.items():
        if array.dtype == np.dtype(code):
            return name
    raise MessageError(f"a tensor must have one of the types {', '.join(DATATYPES)}, not {array.dtype}")


def encode(message: Message, kind: str, more: Mapping[str, Any] | None = None) -> tuple[bytes, int | None]:
    """The body of a message, and the length of its JSON where tensors follow as bytes (else None).

    `kind` is inputs or outputs; `more` are further fields, such as the name of the model.
    """
    described, bodies = [], []
    for name, array in message.tensors.items():
        entry: dict[str, Any] = {"name": name, "shape": list(array.shape), "datatype": datatype(array)}
        if message.binary:
            data = np.ascontiguousarray(array, np.dtype(DATATYPES[entry["datatype"]])).tobytes()
            entry["parameters"] = {"binary_data_size": len(data)}
            bodies.append(data)
        else:
            entry["data"] = array.reshape(-1).tolist()
        described.append(entry)
    head: dict[str, Any] = {**(more or {}), kind: described}
    head |= {"id": message.id} if message.id else {}
    parameters = {**message.parameters, **({"binary_data_output": True} if message.binary and kind == "inputs" else {})}
    head |= {"parameters": parameters} if parameters else {}
    text = json.dumps(head).encode()
    return b"".join([text, *bodies]), len(text) if message.binary else None


def decode(body: bytes, length: str | None, kind: str) -> Message:
    """The message in a body; `length` is the value of the header `LENGTH`, None without it. Raises MessageError."""
    size = _length(length, len(body))
    try:
        head = parse_json(body[:size])
    except ValueError as error:
        raise MessageError("the body must begin with JSON, it does not") from error
    described = head.get(kind) if isinstance(head, Mapping) else None
    if not isinstance(described, Sequence) or isinstance(described, str) or not 0 < len(described) <= MOST_TENSORS:
        raise MessageError(f"the JSON must have a list {kind} of 1 to {MOST_TENSORS} tensors")
    tensors: dict[str, np.ndarray] = {}
    rest, binary = memoryview(body)[size:], length is not None
    for entry in described:
        name, array, rest = _tensor(entry, rest)
        if name in tensors:
            raise MessageError(f"each of the {kind} must have a name of its own")
        tensors[name] = array
    if len(rest):
        raise MessageError("the bytes behind the JSON must be those of its tensors, there are more")
    given, parameters = head.get("id", ""), head.get("parameters", {})
    if not isinstance(given, str) or len(given) > MOST_ID or not isinstance(parameters, Mapping):
        raise MessageError(f"id must be a text of at most {MOST_ID} characters, and parameters a mapping")
    wants = parameters.get("binary_data_output", binary)
    return Message(tensors, given, dict(parameters), bool(wants))


def _length(text: str | None, most: int) -> int:
    """Where the JSON of a body ends."""
    if text is None:
        return most
    if not text.isascii() or not text.isdigit() or len(text) > 12 or int(text) > most:
        raise MessageError(f"the header {LENGTH} must be the length of the JSON, at most that of the body")
    return int(text)


def _tensor(entry: Any, rest: memoryview) -> tuple[str, np.ndarray, memoryview]:
    """The name and the values of a tensor, and the bytes behind those of it."""
    if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str) or not entry["name"]:
        raise MessageError("a tensor must be a mapping with a name")
    name = short(entry["name"])
    kind: Any = entry.get("datatype")
    shape: Any = entry.get("shape")
    if not isinstance(kind, str) or kind not in DATATYPES:
        raise MessageError(f"the tensor {name} must have a datatype of {', '.join(DATATYPES)}")
    whole = isinstance(shape, Sequence) and not isinstance(shape, str) and len(shape) <= MOST_AXES
    if not whole or not all(isinstance(size, int) and not isinstance(size, bool) and size >= 0 for size in shape):
        raise MessageError(f"the tensor {name} must have a shape of at most {MOST_AXES} sizes")
    dtype, count = np.dtype(DATATYPES[kind]), math.prod(shape)
    if count > MOST_VALUES:
        raise MessageError(f"the tensor {name} must have at most {MOST_VALUES} values")
    parameters = entry.get("parameters", {})
    size = parameters.get("binary_data_size") if isinstance(parameters, Mapping) else None
    if size is None:
        return str(entry["name"]), _from_list(entry.get("data"), name, dtype, shape), rest
    if size != count * dtype.itemsize or size > len(rest):
        raise MessageError(
            f"the tensor {name} of this shape and datatype has {count * dtype.itemsize} bytes: binary_data_size must "
            "be that, and so many bytes must follow"
        )
    return str(entry["name"]), np.frombuffer(rest[:size], dtype).reshape(shape), rest[size:]


def _from_list(data: Any, name: str, dtype: np.dtype[Any], shape: Sequence[int]) -> np.ndarray:
    """The values of a tensor that are numbers in JSON: none is changed to fit the datatype."""
    try:
        given = np.asarray(data)
    except ValueError as error:
        raise MessageError(f"the data of the tensor {name} must be a list of numbers") from error
    numbers = given.dtype.kind in ("biuf" if dtype.kind == "f" else "b" if dtype.kind == "b" else "iu")
    if data is None or given.size != math.prod(shape) or (given.size and not numbers):
        raise MessageError(f"the data of the tensor {name} must be as many numbers as its shape says, of its datatype")
    if dtype.kind in "iu" and given.size:
        limits = np.iinfo(dtype)
        if given.min() < limits.min or given.max() > limits.max:
            raise MessageError(f"the data of the tensor {name} must fit its datatype")
    return given.astype(dtype).reshape(shape)

"""Messages of the Open Inference Protocol: what is sent is what arrives, and what breaks the protocol is refused."""

from __future__ import annotations

import json
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from autoopt.deploy.protocol import DATATYPES, LENGTH, Message, MessageError, datatype, decode, encode

TYPES = [np.dtype(code) for code in DATATYPES.values()]


def tensors() -> st.SearchStrategy[dict[str, np.ndarray]]:
    shapes = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    array = st.sampled_from(TYPES).flatmap(lambda kind: arrays.arrays(kind, shapes))
    return st.dictionaries(st.text(min_size=1, max_size=9), array, min_size=1, max_size=3)


@given(sent=tensors(), name=st.text(max_size=9), kind=st.sampled_from(("inputs", "outputs")))
def test_binary_tensors_arrive_as_they_were_sent(sent: dict[str, np.ndarray], name: str, kind: str) -> None:
    """Names, types, shapes and every bit of the values are the same behind encode and decode."""
    body, length = encode(Message(sent, name), kind)
    found = decode(body, str(length), kind)
    assert list(found.tensors) == list(sent) and found.id == name and found.binary
    for key, array in sent.items():
        assert found.tensors[key].shape == array.shape and datatype(found.tensors[key]) == datatype(array)
        assert found.tensors[key].tobytes() == array.tobytes()


@given(values=arrays.arrays(np.int16, (2, 3)))
def test_numbers_in_json_arrive_as_well(values: np.ndarray) -> None:
    """A message without binary tensors is JSON alone."""
    body, length = encode(Message({"x": values}, binary=False), "inputs")
    assert length is None and json.loads(body)["inputs"][0]["data"] == values.reshape(-1).tolist()
    found = decode(body, None, "inputs")
    assert not found.binary and np.array_equal(found.tensors["x"], values)


def body_of(**changes: object) -> bytes:
    entry = {"name": "x", "shape": [2], "datatype": "UINT8", "data": [1, 2], **changes}
    return json.dumps({"inputs": [entry]}).encode()


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"no json", "must begin with JSON"),
        (b"[" * 100_000, "must begin with JSON"),
        (b"[]", "a list inputs"),
        (json.dumps({"inputs": []}).encode(), "a list inputs"),
        (json.dumps({"inputs": [{}] * 17}).encode(), "1 to 16 tensors"),
        (body_of(name=""), "a mapping with a name"),
        (body_of(datatype="STRING"), "must have a datatype"),
        (body_of(shape=[-1]), "must have a shape"),
        (body_of(shape=[1] * 9), "must have a shape"),
        (body_of(shape=[2**20, 2**20]), "must have at most"),
        (body_of(data=[0.25, 0.5]), "of its datatype"),
        (body_of(data=[1, 256]), "must fit its datatype"),
        (body_of(data=[1]), "as many numbers"),
        (body_of(data=[[1], [1, 2]]), "must be"),
        (body_of(data=["a", "b"]), "of its datatype"),
        (body_of(parameters={"binary_data_size": 3}), "has 2 bytes"),
        (body_of(parameters={"binary_data_size": 2}), "so many bytes must follow"),
    ],
)
def test_what_breaks_the_protocol_is_refused(body: bytes, said: str) -> None:
    """Each refusal says what must hold, and none repeats a value of a tensor."""
    with pytest.raises(MessageError, match=said) as caught:
        decode(body, None, "inputs")
    assert "256" not in str(caught.value) and "0.25" not in str(caught.value)


@pytest.mark.parametrize("length", ["-1", "1e3", "", "99999", "9" * 40, "\N{ARABIC-INDIC DIGIT ONE}"])
def test_a_wrong_length_is_refused(length: str) -> None:
    """The header must be the length of the JSON."""
    with pytest.raises(MessageError, match=LENGTH):
        decode(body_of(), length, "inputs")


@given(body=st.binary(max_size=200), length=st.none() | st.integers(0, 300).map(str))
def test_any_bytes_are_a_message_or_refused(body: bytes, length: str | None) -> None:
    """Nothing from outside raises anything else."""
    with suppress(MessageError):
        assert decode(body, length, "inputs").tensors

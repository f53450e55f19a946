"""Weights of any kind are loaded, passed over or refused, in little time and memory; nothing in them is run."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autoopt.nets.weights import HEADER_KEY, WeightsInfo, save_weights
from tests import tiny
from tests.fuzz.probe import ACCEPTED, REFUSED, Probe
from tests.fuzz.strategies import altered, damaged, examples, nested

Probes = Callable[[str], Probe]


def saved(value: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream, **options)
    return stream.getvalue()


def good_state() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return dict(tiny.build().state_dict())


def safetensors(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def own_safetensors() -> bytes:
    info = WeightsInfo("tiny", tiny.workload().data_digest, {"epochs": 2}, val={"dice_macro": 0.5})
    with TemporaryDirectory() as folder:
        return save_weights(tiny.build(), Path(folder), info).read_bytes()


def own_header() -> dict[str, Any]:
    data = own_safetensors()
    (length,) = struct.unpack("<Q", data[:8])
    return dict(json.loads(data[8 : 8 + length]))


def bomb() -> bytes:
    """A file of PyTorch one of whose tensors is packed: a few kilobytes that unpack to a gigabyte."""
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(saved(good_state()))) as source,
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
        with target.open("archive/data/99", "w") as member:
            for _ in range(1000):
                member.write(bytes(1_000_000))
    return stream.getvalue()


def lying_storage() -> bytes:
    """A file of PyTorch whose pickle claims a storage of a billion numbers."""
    data = saved({"stem.weight": torch.zeros(7)}, _use_new_zipfile_serialization=False)
    return data.replace(b"K\x07", b"J\xff\xff\xff\x3b")


class Run:
    """What is unpickled runs a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return __import__("os").system, ("touch /tmp/was-run",)


def deep_pickle(depth: int) -> bytes:
    return b"\x80\x02" + b"]" * depth + b"a" * (depth - 1) + b"."


BAD: dict[str, tuple[str, bytes]] = {
    "nothing": (".pt", b""),
    "nothing of ours": (".safetensors", b""),
    "text": (".pt", b"hello"),
    "a picture": (".pt", b"\x89PNG\r\n\x1a\n" + bytes(100)),
    "a command": (".pt", pickle.dumps(Run())),
    "a command in a zip": (".pt", saved({"a": Run()})),
    "a deep pickle": (".pt", deep_pickle(100_000)),
    "a pickle of a long text": (".pt", b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"abc."),
    "a pickle of long bytes": (".pt", b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"abc."),
    "a pickle of a long number": (".pt", b"\x80\x02\x8b" + struct.pack("<i", 2**30) + b"abc."),
    "a pickle without values": (".pt", b"\x80\x02."),
    "a pickle of an unknown memo": (".pt", b"\x80\x02h\x07."),
    "a packed tensor": (".pt", bomb()),
    "a lying storage": (".pt", lying_storage()),
    "names that are numbers": (".pt", saved({1: torch.zeros(1)})),
    "names without end": (".pt", saved({"long " * 100_000: torch.zeros(1)})),
    "a list": (".pt", saved([torch.zeros(1)])),
    "a sparse tensor": (".pt", saved({**good_state(), "head.bias": torch.zeros(2).to_sparse()})),
    "a tensor without end": (".pt", saved({**good_state(), "head.weight": torch.zeros(1).expand(10**9, 10**6)})),
    "a tensor of meta": (".pt", saved({**good_state(), "head.bias": torch.zeros(2, device="meta")})),
    "complex numbers": (".pt", saved({**good_state(), "head.bias": torch.zeros(2, dtype=torch.complex64)})),
    "a long header": (".safetensors", struct.pack("<Q", 2**63) + b"{}"),
    "a deep header": (".safetensors", safetensors(nested(100_000).encode())),
    "an unknown type": (
        ".safetensors",
        safetensors({"a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}, b"1"),
    ),
    "a lying shape": (
        ".safetensors",
        safetensors({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, b"1234"),
    ),
    "a name without end": (
        ".safetensors",
        safetensors({"long " * 100_000: {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}, b"1"),
    ),
}


def tried(probe: Probe, suffix: str, data: bytes) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"weights{suffix}"
        path.write_bytes(data)
        outcome = probe(path)
    assert outcome.good, outcome
    return outcome.kind


def test_whole_weights_are_loaded(probe: Probes) -> None:
    """Both formats load, also as older versions wrote them, and a state within a checkpoint."""
    state = OrderedDict(good_state())
    for value in (state, {"state_dict": state, "epoch": 3}):
        assert tried(probe("weights"), ".pt", saved(value)) == ACCEPTED
        assert tried(probe("weights"), ".pt", saved(value, _use_new_zipfile_serialization=False)) == ACCEPTED
    assert tried(probe("weights"), ".safetensors", own_safetensors()) == ACCEPTED


@pytest.mark.parametrize("name", BAD)
def test_weights_that_cannot_be_used_are_refused(probe: Probes, name: str) -> None:
    """A file that is no weights, lies about its sizes, would run something or hides a gigabyte is refused in words."""
    assert tried(probe("weights"), *BAD[name]) == REFUSED
    assert not Path("/tmp/was-run").exists()


@examples(30)
@given(data=st.data())
def test_damaged_weights_are_loaded_or_refused(probe: Probes, data: st.DataObject) -> None:
    """Weights of either format with any bytes changed are loaded, or refused."""
    old = data.draw(st.booleans())
    whole = data.draw(
        st.sampled_from(
            [
                (".pt", saved(good_state(), _use_new_zipfile_serialization=not old)),
                (".safetensors", own_safetensors()),
            ]
        )
    )
    tried(probe("weights"), whole[0], data.draw(damaged(whole[1])))


FOREIGN: dict[str, bytes] = {
    **{name: data for name, (_, data) in BAD.items()},
    "fields of another version": safetensors(
        {"__metadata__": {HEADER_KEY: json.dumps({"schema": 1, "workload": "tiny", "data_digest": "d", "new": 1})}}
    ),
    "fields that are missing": safetensors({"__metadata__": {HEADER_KEY: json.dumps({"schema": 1})}}),
    "fields that are deep": safetensors({"__metadata__": {HEADER_KEY: nested(100_000)}}),
    "metadata that are none": safetensors({"__metadata__": []}),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_files_among_weights_are_passed_over(probe: Probes, name: str) -> None:
    """A file in weights/ that is not ours hinders no search."""
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "weights"
        weights.mkdir()
        (weights / "foreign.safetensors").write_bytes(FOREIGN[name])
        (weights / "folder.safetensors").mkdir()
        outcome = probe("home")(Path(folder))
    assert outcome.kind == ACCEPTED, outcome


@examples(30)
@given(data=st.data())
def test_odd_headers_among_weights_are_passed_over(probe: Probes, data: st.DataObject) -> None:
    """A header of ours with odd values in any place hinders no search."""
    header = own_header()
    fields = json.loads(header["__metadata__"][HEADER_KEY])
    header["__metadata__"][HEADER_KEY] = json.dumps(data.draw(altered(fields)))
    with TemporaryDirectory() as folder:
        weights = Path(folder) / "weights"
        weights.mkdir()
        for name in ("one", "two"):
            (weights / f"{name}.safetensors").write_bytes(safetensors(header))
        outcome = probe("home")(Path(folder))
    assert outcome.kind == ACCEPTED, outcome

"""Models of nnU-Net of any kind are read or refused, in little time and memory; nothing in them is run."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.probe import ACCEPTED, REFUSED, Probe
from tests.fuzz.strategies import altered, damaged, examples, nested
from tests.workloads.models import nnunets

Probes = Callable[[str], Probe]


class Run:
    """What is unpickled runs a command."""

    def __reduce__(self) -> tuple[Any, ...]:
        return __import__("os").system, ("touch /tmp/was-run",)


def saved(value: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


@cache
def good_checkpoint() -> bytes:
    return saved(nnunets.checkpoint(0))


def pickled(data: bytes) -> bytes:
    """A file of PyTorch with this pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", data)
    return stream.getvalue()


def model(checkpoint: bytes = b"", plans: Any = nnunets.PLANS, dataset: Any = nnunets.DATASET) -> bytes:
    """The zip file of a model."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in (("plans", plans), ("dataset", dataset)):
            archive.writestr(f"{name}.json", value if isinstance(value, str) else json.dumps(value))
        archive.writestr("fold_0/checkpoint_final.pth", checkpoint or good_checkpoint())
    return stream.getvalue()


CHECKPOINTS: dict[str, bytes] = {
    "a command": saved(nnunets.checkpoint(0, logging=Run())),
    "a packed file": pickled(bytes(60_000_000)),
    "no pickle": b"hello",
    "nothing": b"",
    "a deep tuple as a key": b"\x80\x02}N" + b"\x85" * 1_000_000 + b"Ns.",
    "a place without end": b"\x80\x02Nr\xff\xff\xff\x7f.",
    "bytes without end": b"\x80\x05\x96" + b"\xff" * 7 + b"\x00.",
    "a list": pickle.dumps([1], 2),
    "no weights": pickle.dumps({"state_dict": {}}, 2),
    "no trainer": pickle.dumps({"network_weights": {}, "init_args": {"configuration": "2d"}}, 2),
    "odd axes": pickle.dumps(
        {
            "network_weights": {},
            "init_args": {"configuration": "2d"},
            "trainer_name": "t",
            "inference_allowed_mirroring_axes": (0, 7),
        },
        2,
    ),
}


def tried(probe: Probe, data: bytes) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.zip"
        path.write_bytes(data)
        outcome = probe(path)
    assert outcome.kind in (ACCEPTED, REFUSED), outcome
    return outcome.kind


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_bad_checkpoints_are_refused(probe: Probes, name: str) -> None:
    """A checkpoint that is none, lies, or would run something is refused; it runs nothing."""
    data = CHECKPOINTS[name]
    assert tried(probe("nnunet"), model(data if zipfile.is_zipfile(io.BytesIO(data)) else pickled(data))) == REFUSED
    assert not Path("/tmp/was-run").exists()


@pytest.mark.parametrize(
    "text", ["", "[", nested(100_000), "[1]", '{"configurations": {"3d_fullres": 1}, "labels": 1}']
)
@pytest.mark.parametrize("which", ["plans", "dataset"])
def test_bad_settings_are_refused(probe: Probes, which: str, text: str) -> None:
    """A plans.json or dataset.json that is none is refused."""
    assert tried(probe("nnunet"), model(**{which: text})) == REFUSED


@examples(8)
@given(data=st.data())
def test_odd_settings_are_read_or_refused(probe: Probes, data: st.DataObject) -> None:
    """Plans and dataset.json with odd values in any place are read or refused."""
    one = {**nnunets.PLANS, "configurations": {"3d_fullres": nnunets.FULLRES}}
    which, whole = data.draw(st.sampled_from([("plans", one), ("dataset", nnunets.DATASET)]))
    tried(probe("nnunet"), model(**{which: data.draw(altered(whole))}))


@examples(12)
@given(data=st.data())
def test_damaged_models_are_read_or_refused(probe: Probes, data: st.DataObject) -> None:
    """A model any of whose bytes are changed, or the pickle of its checkpoint, is read or refused."""
    if data.draw(st.booleans()):
        tried(probe("nnunet"), data.draw(damaged(model())))
    else:
        with zipfile.ZipFile(io.BytesIO(good_checkpoint())) as archive:
            whole = archive.read("archive/data.pkl")
        tried(probe("nnunet"), model(pickled(data.draw(damaged(whole)))))

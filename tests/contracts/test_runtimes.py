"""Every runtime keeps the contract; what some of them promise besides."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.core.configuration import Scalar
from autoopt.errors import Unsupported
from autoopt.inference.formats import FORMATS
from autoopt.inference.runtimes import RUNTIMES, runtime
from autoopt.inference.runtimes.shared import has_bf16, trains_bf16
from autoopt.testing import RuntimeContract, example
from autoopt.testing.example import ARM_HOST, NEW_HOST, OLD_HOST, Exported


class TestRuntimes(RuntimeContract):
    """All runtimes of the table."""

    @pytest.fixture(params=RUNTIMES, autouse=True)
    def _each(self, request: pytest.FixtureRequest) -> None:
        for library in ("torch", "onnx", "onnxruntime", "openvino", "nncf"):
            pytest.importorskip(library)
        self.name = request.param


@pytest.fixture(scope="module")
def exported() -> dict[str, Exported]:
    """The small network in every format."""
    for library in ("torch", "onnx", "onnxruntime", "openvino"):
        pytest.importorskip(library)
    return {name: example.exported(name) for name in FORMATS}


def test_precisions_by_host() -> None:
    """BF16 and F16 are offered where the host has them and the library has kernels."""
    assert runtime("torch").precisions(NEW_HOST) == ("f32", "bf16")
    assert runtime("openvino").precisions(NEW_HOST) == ("f32", "bf16", "f16")
    assert runtime("openvino").precisions(ARM_HOST) == ("f32", "f16")
    assert runtime("onnxruntime").precisions(NEW_HOST) == ("f32",)
    assert runtime("openvino").precisions(replace(OLD_HOST, isa=("avx2", "avx512f"))) == ("f32",)


def test_a_training_needs_more_of_bf16_than_a_call() -> None:
    """AVX-NE-CONVERT has BF16 kernels for the forward pass alone; AVX512, AMX and arm64 have both."""
    converting = replace(OLD_HOST, isa=("avx2", "avx_vnni", "avx_ne_convert"))
    assert has_bf16(converting) and not trains_bf16(converting)
    assert all(has_bf16(host) and trains_bf16(host) for host in (NEW_HOST, ARM_HOST))
    assert not has_bf16(OLD_HOST) and not trains_bf16(OLD_HOST)


def test_spinning_needs_somebody_to_spin() -> None:
    """With one thread `spinning` has no effect, so the canonical form does not tell the two apart."""
    canonical = runtime("onnxruntime").canonical
    assert canonical({"threads": 1, "spinning": False}, OLD_HOST) == canonical(
        {"threads": 1, "spinning": True}, OLD_HOST
    )
    assert canonical({"threads": 2, "spinning": False}, OLD_HOST)["spinning"] is False


def test_streams_reach_openvino(exported: dict[str, Exported]) -> None:
    """The number of streams asked for is the one read back."""
    pytest.importorskip("openvino")
    source = exported["openvino"]
    session = runtime("openvino").open(source.artifact.path, {"precision": "f32", "threads": 2, "streams": 2})
    session.run(source.batch)
    assert session.effective()["streams"] == 2
    session.close()


def test_kernels_are_counted(exported: dict[str, Exported]) -> None:
    """OpenVINO and ONNX Runtime tell the executed kernel types with their counts."""
    for name, kernel in (("openvino", "f32:"), ("onnxruntime", "Conv:2")):
        pytest.importorskip(name)
        source = exported[runtime(name).FORMAT]
        session = runtime(name).open(source.artifact.path, runtime(name).canonical({}, OLD_HOST))
        session.run(source.batch)
        assert kernel in str(session.effective()["kernels"])
        session.close()


def test_the_share_of_low_precision_is_told(exported: dict[str, Exported], tmp_path: Path) -> None:
    """A quantized model spends part of its time in INT8 kernels, and OpenVINO says so."""
    openvino, nncf = pytest.importorskip("openvino"), pytest.importorskip("nncf")
    source = exported["openvino"]
    model = openvino.Core().read_model(source.artifact.path / "model.xml")
    dataset = nncf.Dataset([source.batch] * 2)
    openvino.save_model(nncf.quantize(model, dataset, subset_size=2), tmp_path / "model.xml")
    session = runtime("openvino").open(tmp_path, {"precision": "f32", "threads": 1, "streams": 1})
    session.run(source.batch)
    effective = session.effective()
    session.close()
    assert 0 < float(effective["low_precision_share"] or 0) <= 1
    assert "_i8:" in str(effective["kernels"])


@pytest.mark.parametrize("change", ["declared", "hidden"])
def test_a_program_with_pickled_code_is_refused(exported: dict[str, Exported], tmp_path: Path, change: str) -> None:
    """A .pt2 file that would unpickle more than tensors is refused before anything of it is loaded."""
    pytest.importorskip("torch")
    marker = tmp_path / "executed"
    evil = f"cbuiltins\nopen\n(V{marker}\nVw\ntR.".encode()  # a pickle that makes a file
    with (
        zipfile.ZipFile(exported["torch"].artifact.path / "model.pt2") as source,
        zipfile.ZipFile(tmp_path / "model.pt2", "w") as target,
    ):
        for item in source.namelist():
            content = source.read(item)
            if change == "declared" and item.endswith("weights_config.json"):
                content = content.replace(b'"use_pickle": false', b'"use_pickle": true')
            elif (change == "declared" and "weights/weight_" in item) or (change == "hidden" and item.endswith(".pt")):
                content = evil
            target.writestr(item, content)
    with pytest.raises(Unsupported, match=r"pickled|PyTorch"):
        runtime("torch").open(tmp_path, {})
    assert not marker.exists()


def fake(tmp_path: Path, content: dict[str, object] | None = None) -> Callable[..., np.ndarray]:
    (tmp_path / "fake.json").write_text(json.dumps(content or {"classes": 3}))

    def call(batch: np.ndarray, **settings: Scalar) -> np.ndarray:
        return runtime("fake").open(tmp_path, {"latency_ms": 0, **settings}).run(batch)

    return call


def test_fake_segments_by_threshold(tmp_path: Path) -> None:
    """The fake's class 1 is where the first channel is above the threshold."""
    batch = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    labels = fake(tmp_path, {"classes": 3, "threshold": 0.5})(batch).argmax(1)
    assert np.array_equal(labels, batch[:, 0] > 0.5)


def test_fake_classifies(tmp_path: Path) -> None:
    """For classification the fake gives (n, classes) logits from the mean of the first channel."""
    batch = np.stack([np.full((3, 8, 8), value, np.float32) for value in (-1, 1)])
    outputs = fake(tmp_path, {"classes": 2, "task": "classification"})(batch)
    assert outputs.shape == (2, 2)
    assert outputs.argmax(1).tolist() == [0, 1]


@given(error=st.floats(0, 1))
def test_fake_is_wrong_as_often_as_told(tmp_path_factory: pytest.TempPathFactory, error: float) -> None:
    """The fraction of flipped pixels is `error`, the same ones every time."""
    call = fake(tmp_path_factory.mktemp("fake"))
    batch = np.ones((1, 3, 64, 64), np.float32)
    labels = call(batch, error=error).argmax(1)
    assert abs(np.mean(labels != 1) - error) < 0.02
    assert np.array_equal(labels, call(batch, error=error).argmax(1))


@pytest.mark.parametrize(
    ("failure", "error"), [("oom", MemoryError), ("raise", RuntimeError), ("unsupported", Unsupported)]
)
def test_fake_raises_as_told(tmp_path: Path, failure: str, error: type[Exception]) -> None:
    """The failures that are exceptions are raised when it runs."""
    with pytest.raises(error, match="told to"):
        fake(tmp_path)(np.ones((1, 3, 8, 8), np.float32), failure=failure)


def test_fake_returns_rubbish_as_told(tmp_path: Path) -> None:
    """The failures `nan` and `shape` are in the outputs."""
    batch = np.ones((1, 3, 8, 8), np.float32)
    assert np.isnan(fake(tmp_path)(batch, failure="nan")).all()
    assert fake(tmp_path)(batch, failure="shape").shape == (1, 3, 8, 7)

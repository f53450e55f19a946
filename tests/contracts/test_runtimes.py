"""What every runtime promises, whichever it is: a new one adds a line to `RUNTIMES` and inherits these tests."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.errors import Unsupported
from autoopt.inference.runtimes import RUNTIMES, runtime

HOST = Host(cpu="test", arch="x86_64", cores=2, memory_bytes=8 << 30, isa=("avx2",), system="Linux")
BIG_HOST = replace(HOST, cores=64, isa=("avx2", "avx512f", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_bf16"))
ARM_HOST = replace(HOST, arch="aarch64", isa=("asimd", "asimdhp", "bf16"))
KEYS = {"precision", "threads", "streams", "kernels", "low_precision_share"}
HEAVY = ("torch", "onnxruntime", "openvino", "nncf", "onnx", "monai", "mlflow", "optuna")
SHAPE = (1, 3, 16, 16)


@dataclass(frozen=True)
class Exported:
    """One folder with the model in every format, an input and what the model makes of it."""

    folder: Path
    batch: np.ndarray
    expected: np.ndarray


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    openvino, torch = pytest.importorskip("openvino"), pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 1)).eval()
    example = torch.randn(SHAPE)
    with torch.no_grad():
        expected = net(example).numpy()
        torch.export.save(torch.export.export(net, (example,)), folder / "model.pt2")
        torch.onnx.export(net, (example,), folder / "model.onnx", dynamo=True, external_data=False, verbose=False)
        openvino.save_model(
            openvino.convert_model(net, example_input=example, input=list(SHAPE)),
            folder / "model.xml",
            compress_to_fp16=False,
        )
    (folder / "fake.json").write_text(json.dumps({"classes": 2}))
    return Exported(folder, example.numpy(), expected)


@pytest.fixture(params=sorted(RUNTIMES))
def name(request: pytest.FixtureRequest) -> str:
    chosen = str(request.param)
    if runtime(chosen).DISTRIBUTION is not None:
        pytest.importorskip(chosen)
    return chosen


class RuntimeContract:
    """The promises of `runtimes.base.Runtime` and `Session`."""

    def test_output_equals_the_reference(self, name: str, exported: Exported) -> None:
        """In f32 a runtime gives the model's outputs to within 1e-3, float32, and again when called again."""
        session = runtime(name).open(exported.folder, runtime(name).canonical({}, HOST))
        first, second = session.run(exported.batch), session.run(exported.batch)
        session.close()
        assert first.dtype == np.float32
        assert first.shape == exported.expected.shape
        assert np.array_equal(first, second)
        if name != "fake":  # which has a model of its own
            assert np.abs(first - exported.expected).max() < 1e-3

    def test_an_answer_is_not_overwritten(self, name: str, exported: Exported) -> None:
        """A later call leaves the outputs of an earlier one as they were."""
        session = runtime(name).open(exported.folder, runtime(name).canonical({}, HOST))
        first = session.run(exported.batch)
        kept = first.copy()
        session.run(-exported.batch)
        session.close()
        assert np.array_equal(first, kept)

    @pytest.mark.parametrize("threads", [1, 2])
    def test_effective_reads_back(self, name: str, exported: Exported, threads: int) -> None:
        """After a call, `effective` has the agreed keys, the threads asked for and plain scalars."""
        session = runtime(name).open(exported.folder, runtime(name).canonical({"threads": threads}, HOST))
        session.run(exported.batch)
        effective = session.effective()
        session.close()
        assert set(effective) == KEYS
        assert (effective["precision"], effective["threads"], effective["streams"]) == ("f32", threads, 1)
        assert effective["low_precision_share"] in (None, 0.0)
        assert json.loads(json.dumps(effective)) == effective

    def test_profile_tells_the_layers(self, name: str, exported: Exported) -> None:
        """A profile names each executed layer once in f32 with its time, and leaves later answers as they were."""
        session = runtime(name).open(exported.folder, runtime(name).canonical({}, HOST))
        before = session.run(exported.batch)
        layers = session.profile(exported.batch, calls=3)
        after = session.run(exported.batch)
        session.close()
        assert np.array_equal(before, after)
        assert layers and all(layer.seconds >= 0 and layer.type and layer.kernel for layer in layers)
        assert sum(layer.seconds for layer in layers) > 0
        assert {layer.precision for layer in layers if not layer.conversion} <= {"f32", ""}
        assert len({(layer.name, layer.type) for layer in layers}) == len(layers)
        if name != "fake":  # which has a model of its own
            assert sum("conv" in (layer.name + layer.type + layer.kernel).lower() for layer in layers) >= 2

    def test_closing_twice_is_harmless(self, name: str, exported: Exported) -> None:
        """A closed session may be closed again, also one that never ran."""
        session = runtime(name).open(exported.folder, runtime(name).canonical({}, HOST))
        session.close()

        assert session.close() is None

    @pytest.mark.parametrize("damage", ["missing", "garbage"])
    def test_a_bad_folder_is_unsupported(self, name: str, exported: Exported, tmp_path: Path, damage: str) -> None:
        """A folder without a model, or with a broken one, raises Unsupported at `open`."""
        if damage == "garbage":
            for path in exported.folder.iterdir():
                (tmp_path / path.name).write_bytes(b"\x00not a model")
        with pytest.raises(Unsupported, match="must"):
            runtime(name).open(tmp_path, runtime(name).canonical({}, HOST))

    def test_the_defaults_are_allowed(self, name: str) -> None:
        """Every default passes its own parameter's check and survives canonicalisation on a large host."""
        parameters = runtime(name).PARAMETERS
        defaults = {key: parameter.default for key, parameter in parameters.items()}
        assert all(parameters[key].problem(value) is None for key, value in defaults.items())
        assert runtime(name).canonical({}, BIG_HOST) == defaults

    @pytest.mark.parametrize("host", [HOST, BIG_HOST, ARM_HOST], ids=["avx2", "amx", "arm64"])
    def test_canonical(self, name: str, host: Host) -> None:
        """The canonical form is idempotent, keeps the name, clips threads, drops what is not its own."""
        executes = runtime(name)
        for precision in ("f32", "bf16", "f16"):
            raw: dict[str, Scalar] = {
                "name": name,
                "precision": precision,
                "threads": 999,
                "streams": 999,
                "foreign": 1,
            }
            settings = executes.canonical(raw, host)
            assert executes.canonical(settings, host) == settings
            assert set(settings) == {"name", *executes.PARAMETERS}
            assert settings["threads"] == host.cores
            assert settings.get("streams", 1) in (1, host.cores)
            assert settings["precision"] == (precision if precision in executes.precisions(host) else "f32")

    def test_no_precision_without_hardware(self, name: str) -> None:
        """A host with AVX2 only has f32 only; every runtime has f32 everywhere."""
        assert runtime(name).precisions(HOST) == ("f32",)
        assert all(runtime(name).precisions(host)[0] == "f32" for host in (HOST, BIG_HOST, ARM_HOST))

    def test_importing_it_loads_no_heavy_library(self, name: str) -> None:
        """Importing the module of a runtime leaves its library, and all others, unloaded."""
        code = f"import sys, {RUNTIMES[name]}; print([m for m in {HEAVY!r} if m in sys.modules])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


class TestRuntimes(RuntimeContract):
    """All runtimes of the table."""


def test_precisions_by_host() -> None:
    """BF16 and F16 are offered where the host has them and the library has kernels."""
    assert runtime("torch").precisions(BIG_HOST) == ("f32", "bf16")
    assert runtime("openvino").precisions(BIG_HOST) == ("f32", "bf16", "f16")
    assert runtime("openvino").precisions(ARM_HOST) == ("f32", "f16")
    assert runtime("onnxruntime").precisions(BIG_HOST) == ("f32",)
    assert runtime("openvino").precisions(replace(HOST, isa=("avx2", "avx512f"))) == ("f32",)


def test_spinning_needs_somebody_to_spin() -> None:
    """With one thread `spinning` has no effect, so the canonical form does not tell the two apart."""
    canonical = runtime("onnxruntime").canonical
    assert canonical({"threads": 1, "spinning": False}, HOST) == canonical({"threads": 1, "spinning": True}, HOST)
    assert canonical({"threads": 2, "spinning": False}, HOST)["spinning"] is False


def test_streams_reach_openvino(exported: Exported) -> None:
    """The number of streams asked for is the one read back."""
    pytest.importorskip("openvino")
    session = runtime("openvino").open(exported.folder, {"precision": "f32", "threads": 2, "streams": 2})
    session.run(exported.batch)
    assert session.effective()["streams"] == 2
    session.close()


def test_kernels_are_counted(exported: Exported) -> None:
    """OpenVINO and ONNX Runtime tell the executed kernel types with their counts."""
    for name, kernel in (("openvino", "f32:"), ("onnxruntime", "Conv:2")):
        pytest.importorskip(name)
        session = runtime(name).open(exported.folder, runtime(name).canonical({}, HOST))
        session.run(exported.batch)
        assert kernel in str(session.effective()["kernels"])
        session.close()


def test_the_share_of_low_precision_is_told(exported: Exported, tmp_path: Path) -> None:
    """A quantized model spends part of its time in INT8 kernels, and OpenVINO says so."""
    openvino, nncf = pytest.importorskip("openvino"), pytest.importorskip("nncf")
    model = openvino.Core().read_model(exported.folder / "model.xml")
    dataset = nncf.Dataset([exported.batch] * 2)
    openvino.save_model(nncf.quantize(model, dataset, subset_size=2), tmp_path / "model.xml")
    session = runtime("openvino").open(tmp_path, {"precision": "f32", "threads": 1, "streams": 1})
    session.run(exported.batch)
    effective = session.effective()
    session.close()
    assert 0 < float(effective["low_precision_share"] or 0) <= 1
    assert "_i8:" in str(effective["kernels"])


@pytest.mark.parametrize("change", ["declared", "hidden"])
def test_a_program_with_pickled_code_is_refused(exported: Exported, tmp_path: Path, change: str) -> None:
    """A .pt2 file that would unpickle more than tensors is refused before anything of it is loaded."""
    pytest.importorskip("torch")
    marker = tmp_path / "executed"
    evil = f"cbuiltins\nopen\n(V{marker}\nVw\ntR.".encode()  # a pickle that makes a file
    with (
        zipfile.ZipFile(exported.folder / "model.pt2") as source,
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

"""A bundle: complete or not there, loaded with numpy and one runtime, refused when anything was changed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autoopt
from autoopt.core.configuration import Scalar
from autoopt.core.store import Artifact, Store
from autoopt.deploy import bundle
from autoopt.errors import BundleError
from tests import tiny

FACTS = {"workload": "tiny", "demo": True, "numbers": {"latency_p25_ms": 1.5}}
LABELS = ("background", "foreground")
FAKE: dict[str, Scalar] = {"name": "fake", "threads": 1, "latency_ms": 0.0, "error": 0.0}
WEIGHTS = np.array([[-1, 0, 0], [1, 0, 0]], np.float32).reshape(2, 3, 1, 1)
"""A convolution that says foreground where the first channel is positive, as the tiny workload wants it."""
BLOCKED = [
    "torch",
    "monai",
    "optuna",
    "mlflow",
    "onnx",
    "pandas",
    "scipy",
    "nncf",
    "matplotlib",
    "yaml",
    "psutil",
    "filelock",
    "PIL",
    "sqlalchemy",
    "typer",
    "rich",
    "safetensors",
    "onnxscript",
]
ALONE = """
import sys
for name in sys.argv[3:]:
    sys.modules[name] = None  # an import of it raises ImportError
import numpy, autoopt
with autoopt.load(sys.argv[1]) as predictor:
    numpy.save(sys.argv[2], predictor.predict(numpy.load(sys.argv[2])))
"""


def image(shape: tuple[int, ...] = (24, 20)) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(*shape, 3)).astype(np.float32)


def put_fake(store: Store) -> Artifact:
    def build(folder: Path) -> Mapping[str, Any]:
        (folder / "fake.json").write_text('{"classes": 2}')
        (folder / "more").mkdir()
        (folder / "more" / "notes.txt").write_text("below a folder")
        return {}

    return store.put("model", "fake", {}, build)


def build_openvino(folder: Path) -> Mapping[str, Any]:
    import openvino
    from openvino import opset13 as ops

    tile = ops.parameter([1, 3, *tiny.TILE], np.float32)
    logits = ops.convolution(tile, ops.constant(WEIGHTS), [1, 1], [0, 0], [0, 0], [1, 1])
    openvino.save_model(openvino.Model([logits], [tile]), folder / "model.xml", compress_to_fp16=False)
    return {}


def build_onnx(folder: Path) -> Mapping[str, Any]:
    from onnx import TensorProto, helper, numpy_helper, save

    node = helper.make_node("Conv", ["tile", "weights"], ["logits"])
    shapes = [("tile", [1, 3, *tiny.TILE]), ("logits", [1, 2, *tiny.TILE])]
    tile, logits = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes)
    graph = helper.make_graph([node], "g", [tile], [logits], [numpy_helper.from_array(WEIGHTS, "weights")])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), folder / "model.onnx")
    return {}


def write(folder: Path, artifact: Artifact, settings: Mapping[str, Scalar] = FAKE, **facts: Any) -> Path:
    return bundle.write_bundle(folder, artifact, settings, tiny.PIPELINE, LABELS, {**FACTS, **facts})


def reseal(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change bundle.json and give it a fitting digest, as somebody with bad intentions would."""
    card = json.loads((folder / bundle.CARD).read_text())
    change(card)
    data = json.dumps(card).encode()
    (folder / bundle.CARD).write_bytes(data)
    (folder / bundle.SEAL).write_text(f"{hashlib.sha256(data).hexdigest()}  {bundle.CARD}\n")


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return put_fake(Store(tmp_path / "store"))


@pytest.fixture
def written(tmp_path: Path, artifact: Artifact) -> Path:
    return write(tmp_path / "deploy", artifact)


@pytest.mark.parametrize(("runtime", "build"), [("openvino", build_openvino), ("onnxruntime", build_onnx)])
def test_loading_needs_numpy_and_the_runtime_only(
    tmp_path: Path, runtime: str, build: Callable[[Path], Mapping[str, Any]]
) -> None:
    """Where torch and all other heavy packages cannot be imported a bundle loads and predicts."""
    artifact = Store(tmp_path / "store").put("model", "key", {}, build)
    folder = write(tmp_path / "deploy", artifact, {"name": runtime, "precision": "f32", "threads": 1})
    (tmp_path / "store").rename(tmp_path / "gone")
    array = tmp_path / "image.npy"
    np.save(array, image())
    others = [name for name in ("openvino", "onnxruntime") if name != runtime]
    environment = {**os.environ, "PYTHONPATH": str(Path(autoopt.__file__).parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(folder), str(array), *BLOCKED, *others],
        env=environment,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(array), image()[..., 0] > 0)


def test_a_missing_runtime_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the runtime's package the message says what to install."""
    artifact = Store(tmp_path / "store").put("model", "key", {}, build_onnx)
    folder = write(tmp_path / "deploy", artifact, {"name": "onnxruntime", "threads": 1})
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(BundleError, match="pip install onnxruntime"):
        bundle.load(folder)


def test_a_bundle_says_what_it_is(written: Path) -> None:
    """Numbers, labels and settings are in the card; the README tells how to use it and labels demo data."""
    with bundle.load(written) as predictor:
        assert predictor.labels == LABELS
        assert predictor.info["numbers"] == FACTS["numbers"]
        assert predictor.info["runtime"] == FAKE
        assert predictor.pipeline == tiny.PIPELINE
        assert np.array_equal(predictor.predict(image()), image()[..., 0] > 0)
        with pytest.raises(ValueError, match=r"an image must be an array .* got shape \(24, 20\)"):
            predictor.predict(image()[..., 0])
    with pytest.raises(BundleError, match="was closed"):
        predictor.predict(image())
    readme = (written / "README.txt").read_text()
    assert readme.startswith("DEMO")
    assert "array (height, width, 3 channels)" in readme
    names = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    assert names == {"bundle.json", "bundle.sha256", "README.txt", "model/fake.json", "model/more/notes.txt"}


@pytest.mark.parametrize("name", ["bundle.json", "README.txt", "model/fake.json", "model/more/notes.txt"])
def test_a_changed_byte_is_refused(written: Path, name: str) -> None:
    """One flipped bit in any file is found, and the file named, before anything is loaded."""
    data = bytearray((written / name).read_bytes())
    data[len(data) // 2] ^= 1
    (written / name).write_bytes(data)

    with pytest.raises(BundleError, match=f"{name} was altered"):
        bundle.load(written)


@pytest.mark.parametrize("name", ["bundle.json", "bundle.sha256", "README.txt", "model/fake.json"])
def test_a_missing_file_is_refused(written: Path, name: str) -> None:
    """A file that is gone is named."""
    (written / name).unlink()

    with pytest.raises(BundleError, match=f"{name} is missing"):
        bundle.load(written)


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "model/../../secret", "model\\x", "C:/x", "", "model/link"]
)
def test_names_that_lead_out_are_refused(written: Path, name: str) -> None:
    """A file name that leaves the folder, is absolute, or is a link, is refused even with a fitting digest."""
    (written.parent / "secret").write_text("secret")
    (written / "model" / "link").symlink_to(written.parent / "secret")
    digest = hashlib.sha256(b"secret").hexdigest()
    reseal(written, lambda card: card["files"].update({name: {"sha256": digest, "bytes": 6}}))

    with pytest.raises(BundleError, match=r"must lie inside it|is a link"):
        bundle.load(written)


def test_a_file_nobody_vouches_for_is_refused(written: Path) -> None:
    """A file beside the graph that the card does not name is refused: a runtime might read it."""
    (written / "model" / "model.bin").write_bytes(b"weights")

    with pytest.raises(BundleError, match=r"model/model\.bin is not a file of this bundle"):
        bundle.load(written)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("schema", 99, "bundle schema 99, this version reads 1"),
        ("format", "something", "bundle schema"),
        ("runtime", {"name": "os.system"}, "must name a runtime"),
        ("pipeline", {"schema": 1, "task": "poetry"}, "the pipeline in .* cannot be used"),
        ("labels", None, "must name a runtime .* the labels"),
        ("files", {"README.txt": "x"}, "must name a runtime .* and the files"),
    ],
)
def test_a_card_that_makes_no_sense_is_refused(written: Path, key: str, value: Any, message: str) -> None:
    """An unknown schema, runtime, pipeline or list of files is refused with its name."""
    reseal(written, lambda card: card.update({key: value}))

    with pytest.raises(BundleError, match=message):
        bundle.load(written)


@pytest.mark.parametrize("there", [False, True])
def test_what_is_no_folder_is_refused(tmp_path: Path, there: bool) -> None:
    """A path that is a file, or nothing, is no bundle."""
    if there:
        (tmp_path / "bundle").write_text("")
    with pytest.raises(BundleError, match="a bundle must be a folder"):
        bundle.load(tmp_path / "bundle")


@pytest.mark.parametrize("exchange", [True, False])
def test_a_bundle_is_replaced_in_one_step(
    written: Path, artifact: Artifact, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    """Writing over a bundle leaves the new one and nothing else, also where folders cannot be swapped."""
    if not exchange:
        monkeypatch.setattr(bundle, "_exchanged", lambda one, other: False)
    write(written, artifact, trial=7)

    assert bundle.read_card(written)["trial"] == 7
    assert sorted(path.name for path in written.parent.iterdir()) == ["deploy", "store"]


def test_other_folders_are_left_alone(tmp_path: Path, written: Path, artifact: Artifact) -> None:
    """A folder with other files, a bundle with a stranger's file in it, a file and a link are refused and untouched."""
    strange = tmp_path / "strange"
    strange.mkdir()
    (strange / "thesis.txt").write_text("years of work")
    (written / "model" / "notes.md").write_text("mine")
    (tmp_path / "link").symlink_to(written)
    for folder in (strange, written, strange / "thesis.txt", tmp_path / "link", strange / "thesis.txt" / "below"):
        with pytest.raises(BundleError, match="choose another"):
            write(folder, artifact)

    assert (strange / "thesis.txt").read_text() == "years of work"
    assert (written / "model" / "notes.md").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deploy", "link", "store", "strange"]


def test_an_empty_folder_is_used(tmp_path: Path, artifact: Artifact) -> None:
    """An empty folder, and one whose parents do not exist, become bundles."""
    (tmp_path / "empty").mkdir()

    for folder in (tmp_path / "empty", tmp_path / "a" / "b"):
        bundle.load(write(folder, artifact)).close()


def test_an_altered_artifact_leaves_nothing(tmp_path: Path, artifact: Artifact) -> None:
    """An artifact that was altered in the store is refused, and no half-written folder stays."""
    (artifact.path / "fake.json").write_text('{"classes": 3}')

    with pytest.raises(BundleError, match=r"fake\.json was altered"):
        write(tmp_path / "deploy", artifact)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_facts_must_say_whether_it_is_demo(tmp_path: Path, artifact: Artifact) -> None:
    """A bundle without the name of its workload and the demo flag, or with a fact that hides a setting, is an error."""
    with pytest.raises(ValueError, match=r"missing \['demo', 'workload'\]"):
        bundle.write_bundle(tmp_path / "deploy", artifact, FAKE, tiny.PIPELINE, LABELS, {})
    with pytest.raises(ValueError, match=r"not allowed \['runtime'\]"):
        write(tmp_path / "deploy", artifact, runtime={})

"""A bundle is loaded with numpy and one runtime, also one of an earlier version, and predicts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import autoopt
from autoopt.core.store import Artifact, Store
from autoopt.deploy.layout import README
from autoopt.deploy.predictor import load
from autoopt.deploy.writer import write_bundle
from autoopt.errors import BundleError
from tests import tiny
from tests.deploy.bundles import FACTS, FAKE, LABELS, build_onnx, build_openvino, image, write
from tests.test_layering import HEAVY, ROOMS

GOLDEN = Path(__file__).parents[1] / "golden"
NEEDED_ROOMS = ("core", "inference", "measure", "deploy")
"""The folders of the package that predicting needs."""
ALONE = """
import sys
for name in sys.argv[3:]:
    sys.modules[name] = None  # an import of it raises ImportError
import numpy, autoopt
with autoopt.load(sys.argv[1], stand_ins=True) as predictor:
    numpy.save(sys.argv[2], predictor.predict(numpy.load(sys.argv[2])))
"""


def predict_alone(folder: Path, pixels: np.ndarray, array: Path, runtime: Sequence[str] = ()) -> np.ndarray:
    """The answer of a fresh process that can import numpy, the named libraries and what predicting needs of autoopt."""
    np.save(array, pixels)
    libraries = {*HEAVY, "filelock", "einops", "pandas"} - set(runtime)
    rooms = [f"autoopt.{room}" for room in ROOMS if room not in NEEDED_ROOMS]
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(folder), str(array), *sorted(libraries), *rooms, "autoopt.api"],
        env={**os.environ, "PYTHONPATH": str(Path(autoopt.__file__).parent.parent)},
        capture_output=True,
        text=True,
        cwd=array.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: np.ndarray = np.load(array)
    return found


@pytest.mark.parametrize(("runtime", "build"), [("openvino", build_openvino), ("onnxruntime", build_onnx)])
def test_loading_needs_numpy_and_the_runtime_only(
    tmp_path: Path, runtime: str, build: Callable[[Path], Mapping[str, Any]]
) -> None:
    """Where torch and all other heavy packages cannot be imported a bundle loads and predicts."""
    artifact = Store(tmp_path / "store").put("model", "key", {}, build)
    folder = write(tmp_path / "deploy", artifact, {"name": runtime, "precision": "f32", "threads": 1})
    (tmp_path / "store").rename(tmp_path / "gone")

    answer = predict_alone(folder, image(), tmp_path / "image.npy", [runtime])

    assert np.array_equal(answer, image()[..., 0] > 0)


def test_predicting_needs_neither_the_study_nor_the_search(tmp_path: Path) -> None:
    """A bundle of an earlier version predicts in a process that can import numpy, and of autoopt four folders only."""
    with np.load(GOLDEN / "bundle-1.npz") as stored:
        pixels, wanted = stored["image"], stored["answer"]

    answer = predict_alone(GOLDEN / "bundle-1", pixels, tmp_path / "image.npy")

    assert (answer.dtype, answer.tolist()) == (np.uint8, wanted.tolist())


@pytest.mark.parametrize(("name", "library"), [("bundle-1", "numpy"), ("bundle-1-onnxruntime", "onnxruntime")])
def test_a_bundle_of_an_earlier_version_is_read(name: str, library: str) -> None:
    """A bundle with schema 1, as it was first written, gives the answer that it gave then."""
    pytest.importorskip(library)
    with np.load(GOLDEN / f"{name}.npz") as stored, load(GOLDEN / name, stand_ins=True) as predictor:
        assert np.array_equal(predictor.predict(stored["image"]), stored["answer"])
        assert predictor.labels == LABELS
        assert predictor.info["numbers"]["latency_p25_ms"] == 10.0


def test_a_missing_runtime_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the runtime's package the message says what to install."""
    artifact = Store(tmp_path / "store").put("model", "key", {}, build_onnx)
    folder = write(tmp_path / "deploy", artifact, {"name": "onnxruntime", "threads": 1})
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(BundleError, match=r"pip install 'autoopt\[onnxruntime\]'"):
        load(folder, stand_ins=True)


def test_a_bundle_that_needs_scipy_says_so_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where scipy is not installed, a bundle that fills holes is refused when it is loaded, not at the first image."""
    artifact = Store(tmp_path / "store").put("model", "key", {}, build_onnx)
    pipeline = replace(tiny.PIPELINE, fill_holes=True)
    folder = write_bundle(tmp_path / "deploy", artifact, {"name": "onnxruntime", "threads": 1}, pipeline, LABELS, FACTS)
    monkeypatch.setitem(sys.modules, "scipy", None)

    with pytest.raises(BundleError, match="needs scipy: pip install scipy"):
        load(folder)


def test_a_graph_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """A graph that the runtime refuses is reported with the folder of the bundle."""

    def build(folder: Path) -> Mapping[str, Any]:
        (folder / "fake.json").write_text("not JSON")
        return {}

    artifact = Store(tmp_path / "store").put("model", "key", {}, build)
    with pytest.raises(BundleError, match="deploy cannot be opened on this machine: "):
        load(write(tmp_path / "deploy", artifact), stand_ins=True)


def test_a_bundle_says_what_it_is(written: Path) -> None:
    """Numbers, labels and settings are in the card; the README tells how to use it and labels demo data."""
    with load(str(written), stand_ins=True) as predictor:
        assert predictor.labels == LABELS
        assert predictor.info["numbers"] == FACTS["numbers"]
        assert predictor.info["runtime"] == FAKE
        assert predictor.pipeline == tiny.PIPELINE
        assert np.array_equal(predictor.predict(image()), image()[..., 0] > 0)
        with pytest.raises(ValueError, match=r"an image must be an array .* got shape \(24, 20\)"):
            predictor.predict(image()[..., 0])
    with pytest.raises(BundleError, match="was closed"):
        predictor.predict(image())
    names = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    assert names == {
        "bundle.json",
        "bundle.sha256",
        "MODEL_CARD.md",
        "README.txt",
        "model/fake.json",
        "model/more/notes.txt",
    }


def test_the_readme_says_what_an_image_is(tmp_path: Path, artifact: Artifact) -> None:
    """README.txt says the axes, channels and values of an image, the packages, and that demo data is demo data."""
    volume = replace(tiny.PIPELINE, tile=(8, 8, 8), orientation="RAS", fill_holes=True)
    stack = replace(tiny.PIPELINE, sliced=True, overlap=0.0, in_graph="both")
    cases = (
        (tiny.PIPELINE, True, ("DEMO", "array (height, width, 3 channels), any size", "numpy and fake")),
        (volume, False, ("three sizes as stored", "affine: (4, 4)", "predict(image, affine)", "numpy and scipy")),
        (stack, False, ("slices, height, width", "whole numbers from 0 to 255", "tiles of 16x16 that do not overlap")),
    )
    for pipeline, demo, words in cases:
        folder = tmp_path / "deploy"
        write_bundle(folder, artifact, FAKE, pipeline, LABELS, {"workload": "tiny", "demo": demo})
        text = (folder / README).read_text()
        assert all(word in text for word in words), text
        assert text.startswith("DEMO") is demo

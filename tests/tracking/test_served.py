"""What a served model takes and refuses, without a server."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from autoopt.core.store import Store
from autoopt.deploy.predictor import Predictor
from autoopt.inference.pipeline import Pipeline
from autoopt.tracking.model_files import write_model
from autoopt.tracking.served import AFFINE, IMAGE, LABELS, PROBABILITIES, Answering
from tests import tiny
from tests.deploy.bundles import build_openvino, image, write

PIXELS = tiny.pixels().pipeline


class Logits:
    """A session that says foreground where the first channel is positive."""

    def run(self, tile: np.ndarray) -> np.ndarray:
        return np.stack([-tile[:, 0], tile[:, 0]], axis=1)

    def close(self) -> None:
        pass


class Flat:
    """A session that always decides for the second of two classes."""

    def run(self, tile: np.ndarray) -> np.ndarray:
        return np.array([[0.0, 3.0]], np.float32)

    def close(self) -> None:
        pass


def answering(pipeline: Pipeline = tiny.PIPELINE, session: Any = None) -> Answering:
    return Answering(Predictor({"labels": ["a", "b"]}, pipeline, session or Logits()))


def npy(values: np.ndarray, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, **options)
    return stream.getvalue()


def png(values: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


def pixels(shape: tuple[int, ...] = (16, 32, 3)) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("form", ["bytes", "base64", "mapping"])
def test_an_array_comes_back_as_labels(form: str) -> None:
    """A .npy file as bytes, as base64, in a table or a mapping of columns: the labels of the predictor, as .npy."""
    data = npy(image())
    text = base64.encodebytes(data).decode()
    request: Any = {
        "bytes": pd.DataFrame({IMAGE: [data]}),
        "base64": pd.DataFrame({IMAGE: [text]}),
        "mapping": {IMAGE: np.array([text])},
    }[form]
    (answer,) = answering()(request)

    assert np.array_equal(np.load(io.BytesIO(answer[LABELS])), image()[..., 0] > 0)


def test_a_picture_comes_back_as_a_picture() -> None:
    """A PNG of 8 bits is answered with a PNG of the labels."""
    (answer,) = answering(PIXELS)({IMAGE: [png(pixels())]})
    labels = np.asarray(Image.open(io.BytesIO(answer[LABELS])))
    wanted = Predictor({"labels": ["a", "b"]}, PIXELS, Logits()).predict(pixels())  # type: ignore[arg-type]
    assert np.array_equal(labels, wanted)


def test_a_classification_comes_back_as_probabilities() -> None:
    """Every class has its probability."""
    settings = {**tiny.PIPELINE.to_json(), "task": "classification"}
    (answer,) = answering(Pipeline.from_json(settings), Flat())({IMAGE: [npy(image((16, 16)))]})
    assert answer[PROBABILITIES] == pytest.approx([0.0474, 0.9526], abs=1e-3)


FLOATS = np.full((16, 32, 3), 0.123456, np.float32)
BAD: Mapping[str, tuple[Pipeline, Any, str]] = {
    "floats for a model of pictures": (PIXELS, {IMAGE: [npy(FLOATS)]}, "must be uint8, it is float32"),
    "an array of numbers": (PIXELS, FLOATS, "no list of numbers; got a ndarray"),
    "a list of numbers": (PIXELS, {IMAGE: [FLOATS.tolist()]}, "image 1 cannot be used: it must be the bytes of a file"),
    "another column": (PIXELS, {"picture": [npy(pixels())]}, "got no such column"),
    "text that is no base64": (PIXELS, {IMAGE: ["0.123456"]}, "as base64, it is not"),
    "another file": (PIXELS, {IMAGE: [b"0.123456" * 9]}, "neither as a PNG nor as a .npy file"),
    "a broken PNG": (PIXELS, {IMAGE: [png(pixels())[:60]]}, "the PNG cannot be read"),
    "a grey PNG": (PIXELS, {IMAGE: [png(pixels((16, 32)))]}, "must be 8-bit RGB, it is L"),
    "a PNG of 16 bits": (
        PIXELS,
        {IMAGE: [png(pixels((16, 32)).astype(np.uint16))]},
        "must be 8-bit RGB, it is I;16",
    ),
    "a .npy file that is cut": (PIXELS, {IMAGE: [npy(pixels())[:-5]]}, "must hold 1536 bytes of values, it holds 1531"),
    "a .npy file of objects": (
        PIXELS,
        {IMAGE: [npy(np.array([{"a": 1}], object), allow_pickle=True)]},
        "must hold real numbers",
    ),
    "a .npy file that says it is huge": (
        PIXELS,
        {IMAGE: [npy(pixels()).replace(b"(16, 32, 3)", b"(9999,99,3)")]},
        "must hold",
    ),
    "a .npy file whose header is cut": (PIXELS, {IMAGE: [npy(pixels()).replace(b"3)", b"3(")]}, "header .* cannot be"),
    "a short affine": (tiny.PIPELINE, {IMAGE: [npy(image())], AFFINE: [[1.0, 2.0]]}, "affine must be 16 numbers"),
    "another shape": (PIXELS, {IMAGE: [npy(pixels((16, 32, 4)))]}, r"got shape \(16, 32, 4\)"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_does_not_fit_is_refused_without_its_values(name: str) -> None:
    """A sentence says what must hold; no value of the image is in it."""
    pipeline, request, words = BAD[name]
    with pytest.raises(ValueError, match=words) as raised:
        answering(pipeline)(request)
    assert "0.1234" not in str(raised.value)


def test_one_that_does_not_fit_is_named() -> None:
    """Of several images the wrong one is named by its number."""
    with pytest.raises(ValueError, match="image 2 cannot be used"):
        answering()({IMAGE: [npy(image()), b"x"]})


def test_the_files_of_a_model_are_loaded_and_answer(tmp_path: Path) -> None:
    """MLflow loads the code and the bundle wherever they lie, also where the originals are gone; nothing is pickled."""
    from mlflow import pyfunc

    artifact = Store(tmp_path / "store").put("model", "key", {}, build_openvino)
    made = tmp_path / "made"
    bundle = write(made / "bundle", artifact, {"name": "openvino", "precision": "f32", "threads": 1})
    write_model(made / "model", bundle, ["numpy"], {"a": "b"}).rename(tmp_path / "model")
    made.rename(tmp_path / "gone")
    (answer,) = pyfunc.load_model(str(tmp_path / "model")).predict(pd.DataFrame({IMAGE: [npy(image())]}))

    assert np.array_equal(np.load(io.BytesIO(answer[LABELS])), image()[..., 0] > 0)
    assert str(tmp_path) not in (tmp_path / "model" / "MLmodel").read_text()

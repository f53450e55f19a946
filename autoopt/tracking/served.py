"""The model that MLflow serves: the bytes of an image in, the bytes of an answer out.

A column `image` has a PNG (flat pictures) or a .npy file (any array), as bytes, in JSON as base64; a column `affine`
has 16 numbers where the pipeline needs them. Lists of numbers are refused: MLflow would cast them to another type, and
write the values of a patient's image into its messages. So there is no signature either, which MLflow would hold them
against; and what is wrong with an image is told without its values.
"""

from __future__ import annotations

import base64
import binascii
import io
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.deploy.predictor import Predictor, load

IMAGE, AFFINE = "image", "affine"
LABELS, PROBABILITIES, NUMBERS = "labels", "probabilities", "numbers"
PNG, NPY = b"\x89PNG\r\n\x1a\n", b"\x93NUMPY"
"""How such files begin."""
MOST_PIXELS = 50_000_000
"""Of a picture: a few bytes may stand for more than fits into memory."""
MODES = {1: "L", 3: "RGB"}
"""Pillow's name of the pictures with so many channels of 8 bits."""
WANTED = f"send a column {IMAGE!r} with the bytes of a PNG or .npy file (in JSON as base64), no list of numbers"


class _Bundle:
    """What MLflow calls. It stands before MLflow's class, which wraps the `predict` of what is derived from it."""

    def load_context(self, context: Any) -> None:
        """Load the bundle that lies beside the code, verified."""
        self._answering = Answering(load(Path(context.artifacts["bundle"])))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """An answer for each image; without types, of which MLflow would make a signature."""
        return self._answering(model_input)


def served_model() -> Any:
    """The model that a registered model's code file hands to MLflow."""
    from mlflow.pyfunc import PythonModel

    return type("ServedBundle", (_Bundle, PythonModel), {"__module__": __name__})()


class Answering:
    """Answers for the images of a request, one request at a time: a runtime's session is not for two at once."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._lock = threading.Lock()

    def __call__(self, request: Any) -> list[dict[str, Any]]:
        """A mapping for each image: of a segmentation the bytes of its `labels`, else its `probabilities`, of a
        regression its `numbers`.

        Labels come as the image came, PNG or .npy; several labels at once as .npy. Raises ValueError, which tells no
        value of the image.
        """
        rows = list(_rows(request))
        images = [_image(self._predictor, number, row) for number, row in enumerate(rows)]
        with self._lock:
            answers = [self._predictor.predict(image, affine) for image, affine, _ in images]
        if self._predictor.pipeline.task != "segmentation":
            name = NUMBERS if self._predictor.pipeline.task == "regression" else PROBABILITIES
            return [{name: [float(value) for value in answer]} for answer in answers]
        return [
            {LABELS: _written(answer, as_png=as_png)} for answer, (_, _, as_png) in zip(answers, images, strict=True)
        ]


def _rows(request: Any) -> Iterable[Mapping[str, Any]]:
    """The rows of a table, or of a mapping of columns. Raises ValueError for anything else."""
    if hasattr(request, "to_dict") and hasattr(request, "columns"):
        columns = {str(name): list(request[name]) for name in request.columns}
    elif isinstance(request, Mapping):
        columns = {str(name): _column(values) for name, values in request.items()}
    else:
        raise ValueError(f"{WANTED}; got a {type(request).__name__}")
    if IMAGE not in columns:
        raise ValueError(f"{WANTED}; got no such column")
    strange = sorted(set(columns) - {IMAGE, AFFINE})
    if strange or len({len(values) for values in columns.values()}) != 1:
        raise ValueError(f"{WANTED}, and {AFFINE!r} of the same length where it is needed; got {len(columns)} columns")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _column(values: Any) -> list[Any]:
    found = values.tolist() if isinstance(values, np.ndarray) else values
    return list(found) if isinstance(found, list | tuple) else [found]


def _image(predictor: Predictor, number: int, row: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray | None, bool]:
    """The image of a row, its affine, and whether it came as PNG. Raises ValueError saying which row and why."""
    try:
        data = _bytes(row[IMAGE])
        if data.startswith(PNG):
            image = _picture(data, predictor)
        elif data.startswith(NPY):
            image = _array(data, predictor)
        else:
            raise ValueError("it begins neither as a PNG nor as a .npy file")
        return image, _affine(row.get(AFFINE)), data.startswith(PNG)
    except ValueError as error:
        raise ValueError(f"image {number + 1} cannot be used: {error}") from None


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if not isinstance(value, str):
        raise ValueError(f"it must be the bytes of a file, got a {type(value).__name__}")
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("text must be the bytes of a file as base64, it is not") from None


def _picture(data: bytes, predictor: Predictor) -> np.ndarray:
    """uint8 (height, width, channels) of a PNG."""
    from PIL import Image

    pipeline = predictor.pipeline
    mode = MODES.get(pipeline.channels)
    if pipeline.dimensions != 2 or mode is None:
        raise ValueError(
            f"a PNG is for flat pictures of 1 or 3 channels, the model takes {pipeline.dimensions} dimensions and "
            f"{pipeline.channels} channels: send a .npy file"
        )
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            found, pixels = picture.mode, picture.width * picture.height
            values = np.asarray(picture) if found == mode and pixels <= MOST_PIXELS else np.zeros(0)
    except Exception as error:  # Pillow raises many kinds; its words may quote the file
        raise ValueError(f"the PNG cannot be read ({type(error).__name__})") from None
    if pixels > MOST_PIXELS:
        raise ValueError(f"a PNG may have {MOST_PIXELS} pixels, it has {pixels}")
    if found != mode:
        raise ValueError(f"a PNG for this model must be 8-bit {mode}, it is {found}")
    return values.reshape(*values.shape[:2], pipeline.channels)


def _array(data: bytes, predictor: Predictor) -> np.ndarray:
    """The array of a .npy file, whose header is held against its length before anything is made."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except Exception as error:  # numpy reads it as Python text, and raises whatever that raises
        raise ValueError(f"the header of the .npy file cannot be read ({type(error).__name__})") from None
    if dtype.hasobject or dtype.kind not in "buif":
        raise ValueError(f"the .npy file must hold real numbers, it holds {dtype}")
    whole = int(np.prod([int(size) for size in shape], dtype=object)) * dtype.itemsize
    if min(shape, default=0) < 1 or whole != len(data) - stream.tell():
        raise ValueError(f"the .npy file must hold {whole} bytes of values, it holds {len(data) - stream.tell()}")
    pipeline = predictor.pipeline
    if pipeline.takes_8_bits and dtype != np.uint8:
        raise ValueError(
            f"the model takes pictures of 8 bits, the .npy file must be uint8, it is {dtype}: values from 0 to 1 would "
            "be taken for black"
        )
    return np.frombuffer(data, dtype, offset=stream.tell()).reshape(shape, order="F" if fortran else "C")


def _affine(value: Any) -> np.ndarray | None:
    """(4, 4) of 16 numbers, flat or nested; None where there are none."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    try:
        found = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        found = np.zeros(0)
    if found.size != 16 or not np.isfinite(found).all():
        raise ValueError(f"{AFFINE} must be 16 numbers, voxel index to RAS+ millimetres")
    return found.reshape(4, 4)


def _written(labels: np.ndarray, *, as_png: bool) -> bytes:
    """A label map as the bytes of a PNG of 8-bit grey, or of a .npy file."""
    stream = io.BytesIO()
    if as_png and labels.ndim == 2 and labels.dtype == np.uint8:
        from PIL import Image

        Image.fromarray(labels).save(stream, "PNG")
    else:
        np.save(stream, labels, allow_pickle=False)
    return stream.getvalue()

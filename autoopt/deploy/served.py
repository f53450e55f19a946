"""What a server offers of a bundle: the whole model, from an image to its answer, and the network alone, tile by tile.

Both are described and asked as the Open Inference Protocol v2 does (protocol.py); the network alone is what other
servers offer of the same files, so a `RemoteSession` may ask it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from autoopt.deploy.predictor import Predictor
from autoopt.deploy.protocol import Message, MessageError, datatype
from autoopt.inference.pipeline import Pipeline

IMAGE, ANSWER, TILE, OUTPUT = "image", "answer", "input", "output"
"""The names of the tensors: of the whole model, and of the network alone."""
AFFINE = "affine"
"""The parameter of a request with the 16 numbers of an image's affine, row by row."""
GRAPH = "-graph"
"""What the name of the network alone ends with."""
IMAGE_TYPES = ("UINT8", "INT16", "UINT16", "FP32")
"""The types that an image may have; they are what files of images hold. Pictures of 8 bits have the first alone."""


@dataclass(frozen=True)
class Described:
    """A tensor of a model: its name, its type (or what types it may have), its sizes, -1 where any size will do."""

    name: str
    datatypes: tuple[str, ...]
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As the protocol writes it."""
        return {"name": self.name, "datatype": self.datatypes[0], "shape": list(self.shape)}

    def check(self, message: Message) -> np.ndarray:
        """The one tensor of a request, if it is as described. Raises MessageError."""
        if list(message.tensors) != [self.name]:
            raise MessageError(f"the inputs must be one tensor called {self.name}")
        array = message.tensors[self.name]
        if datatype(array) not in self.datatypes:
            raise MessageError(
                f"{self.name} must have a datatype of {', '.join(self.datatypes)}, it has {datatype(array)}: values "
                "are never converted"
            )
        fits = len(array.shape) == len(self.shape) and all(
            wanted in (-1, got) for wanted, got in zip(self.shape, array.shape, strict=True)
        )
        if not fits:
            raise MessageError(f"{self.name} must have the shape {list(self.shape)}, it has {list(array.shape)}")
        return array


@dataclass(frozen=True)
class Served:
    """A model that is served: what goes in and comes out, and what answers a checked request."""

    name: str
    given: Described
    answered: Described
    answer: Callable[[np.ndarray, Mapping[str, Any]], np.ndarray]

    def metadata(self) -> dict[str, Any]:
        """As the protocol describes a model."""
        return {
            "name": self.name,
            "versions": ["1"],
            "platform": "autoopt",
            "inputs": [self.given.to_json()],
            "outputs": [self.answered.to_json()],
        }

    def infer(self, message: Message) -> Message:
        """The answer to a request. Raises MessageError for one that does not fit, its text without values."""
        array = self.given.check(message)
        try:
            found = self.answer(array, message.parameters)
        except ValueError as error:
            raise MessageError(str(error)) from error
        return Message({self.answered.name: found}, message.id, binary=message.binary)


def served(predictor: Predictor) -> dict[str, Served]:
    """The whole model and the network alone of a loaded bundle, by name; one call at a time."""
    pipeline, lock = predictor.pipeline, threading.Lock()

    def whole(array: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
        with lock:
            return predictor.predict(array, _affine(parameters))

    def tile(array: np.ndarray, parameters: Mapping[str, Any]) -> np.ndarray:
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError("a tile must have finite numbers, it has NaN or infinity")
        with lock:
            return predictor.call(array)

    name = str(predictor.info["workload"])
    models = (
        Served(name, _image(pipeline), _answer(pipeline), whole),
        Served(name + GRAPH, _tile(pipeline), _output(pipeline), tile),
    )
    return {model.name: model for model in models}


def _image(pipeline: Pipeline) -> Described:
    types = IMAGE_TYPES[:1] if pipeline.takes_8_bits else IMAGE_TYPES
    return Described(IMAGE, types, (*(-1,) * pipeline.dimensions, pipeline.channels))


def _answer(pipeline: Pipeline) -> Described:
    if pipeline.task != "segmentation":
        return Described(ANSWER, ("FP32",), (pipeline.classes,))
    labels = (pipeline.classes,) if pipeline.multilabel else ()
    return Described(ANSWER, ("UINT8",), (*(-1,) * pipeline.dimensions, *labels))


def _tile(pipeline: Pipeline) -> Described:
    return Described(TILE, ("UINT8" if pipeline.takes_pixels else "FP32",), tuple(pipeline.input_shape))


def _output(pipeline: Pipeline) -> Described:
    return Described(OUTPUT, ("UINT8" if pipeline.gives_labels else "FP32",), tuple(pipeline.output_shape))


def _affine(parameters: Mapping[str, Any]) -> np.ndarray | None:
    """The affine among the parameters of a request; None without one. Raises ValueError."""
    given = parameters.get(AFFINE)
    if given is None:
        return None
    numbers = isinstance(given, list) and len(given) == 16
    if not numbers or not all(isinstance(item, int | float) and not isinstance(item, bool) for item in given):
        raise ValueError(f"{AFFINE} must be 16 numbers, row by row")
    return np.array(given, dtype=np.float64).reshape(4, 4)

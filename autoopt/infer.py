"""The inference pipeline in numpy: normalise, tile, run, stitch, decide. One code for worker, bundle and training.

It knows nothing of the number of spatial dimensions: a tile of two sizes makes a 2D pipeline, of three a 3D one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

SCHEMA = 1
TASKS = ("segmentation", "classification")

Run = Callable[[np.ndarray], np.ndarray]
"""One call of a model: float32 (n, channels, *tile) in, (n, classes[, *tile]) out."""


@dataclass(frozen=True)
class Pipeline:
    """What happens to an image before and after the network, as plain data.

    `tile` is the spatial size of one network call and `overlap` the fraction of it (0 to less than 1)
    that neighbouring tiles share at least. The image is divided by `scale`, then normalised per channel
    with `mean` and `std`. Raises ValueError for values that cannot work.
    """

    task: Literal["segmentation", "classification"]
    classes: int
    channels: int
    tile: tuple[int, ...]
    overlap: float
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        problems = []
        if self.task not in TASKS:
            problems.append(f"task must be one of {', '.join(TASKS)}, got {self.task!r}")
        if self.classes < 2:
            problems.append(f"classes must be at least 2, got {self.classes}")
        if self.channels < 1:
            problems.append(f"channels must be at least 1, got {self.channels}")
        if not self.tile or min(self.tile) < 1:
            problems.append(f"tile must be sizes of at least 1, got {self.tile}")
        if not 0 <= self.overlap < 1:
            problems.append(f"overlap must be a fraction from 0 to less than 1, got {self.overlap}")
        if not self.scale > 0:
            problems.append(f"scale must be larger than 0, got {self.scale}")
        if len(self.mean) != self.channels or len(self.std) != self.channels or min(self.std, default=1.0) <= 0:
            problems.append(
                f"mean and std must have {self.channels} values, std above 0, got {self.mean} and {self.std}"
            )
        if problems:
            raise ValueError("a pipeline cannot work: " + "; ".join(problems))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one network call: (1, channels, *tile)."""
        return (1, self.channels, *self.tile)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON with the schema version."""
        plain = {name: list(item) if isinstance(item, tuple) else item for name, item in asdict(self).items()}
        return {"schema": SCHEMA, **plain}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Pipeline:
        """The pipeline that `to_json` wrote. Raises ValueError for a schema this version cannot read."""
        if value.get("schema") != SCHEMA:
            raise ValueError(f"a pipeline of schema {SCHEMA} is needed, this one has {value.get('schema')!r}")
        fields: dict[str, Any] = {name: item for name, item in value.items() if name != "schema"}
        fields.update({name: tuple(item) for name, item in fields.items() if isinstance(item, list)})
        return cls(**fields)

    def prepare(self, image: np.ndarray) -> tuple[np.ndarray, Geometry]:
        """Tiles of the normalised image, float32 (n, channels, *tile), and how they lie in it.

        `image` is (*spatial, channels), real numbers; the channel axis may be left out when there is
        one channel. Raises ValueError naming what must hold and what came.
        """
        values = self._normalised(image)
        spatial = values.shape[1:]
        margins = [max(0, tile - size) for tile, size in zip(self.tile, spatial, strict=True)]
        before = tuple(margin // 2 for margin in margins)
        if any(margins):
            pads = [(0, 0), *((low, margin - low) for low, margin in zip(before, margins, strict=True))]
            values = _padded(values, pads)
        starts = [_starts(size, tile, self.overlap) for size, tile in zip(values.shape[1:], self.tile, strict=True)]
        corners = tuple(itertools.product(*starts))
        tiles = np.empty((len(corners), self.channels, *self.tile), np.float32)
        for index, corner in enumerate(corners):
            tiles[index] = values[(slice(None), *_window(corner, self.tile))]
        return tiles, Geometry(spatial, values.shape[1:], before, corners)

    def finish(self, outputs: np.ndarray, geometry: Geometry) -> np.ndarray:
        """The answer for one image from the network's logits of its tiles, (n, classes[, *tile]).

        Segmentation: a uint8 label map of the image's spatial shape, where tiles overlap from the mean of
        their logits. Classification: float32 probabilities (classes,), the mean over the tiles. Raises
        ValueError for outputs of another shape or with NaN or infinity.
        """
        count = len(geometry.corners)
        tail = self.tile if self.task == "segmentation" else ()
        expected = (count, self.classes, *tail)
        if outputs.shape != expected:
            raise ValueError(f"the network must return shape {expected}, it returned {outputs.shape}")
        if not np.isfinite(outputs).all():
            raise ValueError("the network must return finite numbers, it returned NaN or infinity")
        if self.task == "classification":
            return np.asarray(_softmax(np.asarray(outputs, np.float64)).mean(axis=0), np.float32)
        total: np.ndarray = outputs[0] if count == 1 else self._stitched(outputs, geometry)
        inside = _window(geometry.offset, geometry.spatial)
        return np.asarray(total[(slice(None), *inside)].argmax(axis=0), np.uint8)

    def _normalised(self, image: np.ndarray) -> np.ndarray:
        """float32 (channels, *spatial), checked."""
        dimensions = len(self.tile)
        wanted = f"an image must be an array ({'size, ' * dimensions}channels) with {self.channels} channel(s)"
        image = np.asarray(image)
        if image.dtype.kind not in "buif":
            raise ValueError(f"{wanted} of real numbers, got dtype {image.dtype}")
        if self.channels == 1 and image.ndim == dimensions:
            image = image[..., np.newaxis]
        if image.ndim != dimensions + 1 or image.shape[-1] != self.channels:
            raise ValueError(f"{wanted}, got shape {image.shape}")
        if image.size == 0:
            raise ValueError(f"{wanted} and no size may be zero, got shape {image.shape}")
        mean, std = np.asarray(self.mean, np.float32), np.asarray(self.std, np.float32)
        values = (image.astype(np.float32) / np.float32(self.scale) - mean) / std
        if not np.isfinite(values).all():
            raise ValueError(f"{wanted} of finite numbers, got NaN or infinity")
        return np.ascontiguousarray(np.moveaxis(values, -1, 0))

    def _stitched(self, outputs: np.ndarray, geometry: Geometry) -> np.ndarray:
        """The mean of the tiles' logits, (classes, *padded)."""
        total = np.zeros((self.classes, *geometry.padded), np.float32)
        count = np.zeros(geometry.padded, np.float32)
        for output, corner in zip(outputs, geometry.corners, strict=True):
            window = _window(corner, self.tile)
            total[(slice(None), *window)] += output
            count[window] += 1
        total /= count
        return total


@dataclass(frozen=True)
class Geometry:
    """Where the tiles of one image lie: its shape, the padded shape, the image's place in it, the tiles' corners."""

    spatial: tuple[int, ...]
    padded: tuple[int, ...]
    offset: tuple[int, ...]
    corners: tuple[tuple[int, ...], ...]


def predict(pipeline: Pipeline, run: Run, image: np.ndarray) -> np.ndarray:
    """The answer for one image, calling `run` with one tile at a time; see `Pipeline.prepare` and `.finish`."""
    tiles, geometry = pipeline.prepare(image)
    outputs = [np.asarray(run(tiles[index : index + 1])) for index in range(len(tiles))]
    return pipeline.finish(np.concatenate(outputs), geometry)


def _starts(size: int, tile: int, overlap: float) -> list[int]:
    """Evenly spread starts of the fewest tiles that cover `size` and overlap by at least the fraction."""
    stride = max(1, int(tile * (1 - overlap)))
    count = 1 + -(-(size - tile) // stride)
    return [0] if count == 1 else [round(index * (size - tile) / (count - 1)) for index in range(count)]


def _padded(values: np.ndarray, pads: list[tuple[int, int]]) -> np.ndarray:
    # Reflection needs no new colours, but mirrors at most size - 1 pixels: what is smaller repeats its edge.
    mirrors = all(max(pad) < size for pad, size in zip(pads, values.shape, strict=True))
    return np.pad(values, pads, mode="reflect" if mirrors else "edge")


def _window(corner: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(start, start + size) for start, size in zip(corner, sizes, strict=True))


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: np.ndarray = shifted / shifted.sum(axis=1, keepdims=True)
    return result

"""The inference pipeline in numpy: standardise, tile, run, stitch, decide. One code for worker, bundle and training.

It knows nothing of the number of spatial dimensions: a tile of two sizes makes a 2D pipeline, of three a 3D one.
scipy is imported only where holes are filled or components chosen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from autoopt.inference import grid, postprocess

SCHEMA = 2
READABLE = (1, 2)
"""Schema 2 only added fields; what has none of them means their defaults."""
TASKS = ("segmentation", "classification")
INTENSITIES = ("fixed", "percentile", "zscore")
FITS = ("tile", "resize", "center")
ACTIVATIONS = ("softmax", "sigmoid")
IN_GRAPH = ("none", "input", "both")
SURELY_NOT = -20.0
"""The logit of what lies outside a cropped centre: surely background."""

Run = Callable[[np.ndarray], np.ndarray]
"""One call of a model: float32 (n, channels, *tile) in, (n, classes[, *tile]) out; other shapes with `in_graph`."""


@dataclass(frozen=True)
class Pipeline:
    """What happens to an image before and after the network, as plain data. Raises ValueError for what cannot work.

    Before: the axes of a 3D image are turned to `orientation` (such as RAS) and resampled to `spacing_mm`, both
    by its affine; values are limited to `clip`; `intensity` is clipped to `percentiles` of the image and scaled to
    0..1, or centred and divided by its standard deviation per channel, or left as it is; then comes
    (image / scale - mean) / std per channel.
    `fit` makes network calls of size `tile` of it: a sliding window whose neighbours share at least the
    fraction `overlap` of it, the whole image resized, or its centre. With `sliced` the first axis is a stack
    of 2D images. After: the logits are put back on the image's own grid; the largest one decides
    (`softmax`), or each label that exceeds `threshold` (`sigmoid`: several labels at once); then, per label but the
    background, holes are filled and the largest component is kept.
    `in_graph` names what of this the graph does itself (in_graph.py puts it there): with `input` a call takes the
    pixels as they are, uint8 (1, *tile, channels), and scale, mean and std are inside; with `both` it also decides and
    answers with labels, uint8 (1, *tile).
    """

    task: Literal["segmentation", "classification"]
    classes: int
    channels: int
    tile: tuple[int, ...]
    overlap: float
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    intensity: Literal["fixed", "percentile", "zscore"] = "fixed"
    percentiles: tuple[float, float] = (2.0, 95.0)
    clip: tuple[float, float] | None = None
    orientation: str | None = None
    spacing_mm: tuple[float, ...] | None = None
    fit: Literal["tile", "resize", "center"] = "tile"
    sliced: bool = False
    activation: Literal["softmax", "sigmoid"] = "softmax"
    threshold: float = 0.5
    fill_holes: bool = False
    largest_component: bool = False
    in_graph: Literal["none", "input", "both"] = "none"

    def __post_init__(self) -> None:
        problems = list(_problems(self))
        if problems:
            raise ValueError("a pipeline cannot work: " + "; ".join(problems))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one call: (1, channels, *tile), or (1, *tile, channels) where the graph takes pixels."""
        return (1, *self.tile, self.channels) if self.takes_pixels else (1, self.channels, *self.tile)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of its answer: (1, classes, *tile), (1, classes) for a classification, (1, *tile) of labels."""
        spatial = self.tile if self.task == "segmentation" else ()
        return (1, *spatial) if self.gives_labels else (1, self.classes, *spatial)

    @property
    def takes_pixels(self) -> bool:
        """Whether the graph normalises: a call takes uint8, channels last, instead of float32, channels first."""
        return self.in_graph != "none"

    @property
    def gives_labels(self) -> bool:
        """Whether the graph decides: it answers with uint8 labels instead of logits."""
        return self.in_graph == "both"

    @property
    def dimensions(self) -> int:
        """How many spatial axes an image has."""
        return len(self.tile) + self.sliced

    @property
    def needs_affine(self) -> bool:
        """Whether an image means nothing without its affine."""
        return self.orientation is not None or self.spacing_mm is not None

    @property
    def needs_scipy(self) -> bool:
        """Whether more than numpy is needed."""
        return self.fill_holes or self.largest_component

    def to_json(self) -> dict[str, Any]:
        """Plain JSON with the schema version."""
        plain = {name: list(item) if isinstance(item, tuple) else item for name, item in asdict(self).items()}
        if not self.takes_pixels:  # left out, so that what was made before there was such a field keeps its digest
            del plain["in_graph"]
        return {"schema": SCHEMA, **plain}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Pipeline:
        """The pipeline that `to_json` wrote. Raises ValueError for a schema this version cannot read."""
        if value.get("schema") not in READABLE:
            raise ValueError(f"a pipeline of schema {SCHEMA} is needed, this one has {value.get('schema')!r}")
        fields: dict[str, Any] = {name: item for name, item in value.items() if name != "schema"}
        fields.update({name: tuple(item) for name, item in fields.items() if isinstance(item, list)})
        return cls(**fields)

    def standardise(self, image: np.ndarray, affine: np.ndarray | None = None) -> tuple[np.ndarray, Frame]:
        """The image on the network's grid with its intensity normalised by itself, and the way back.

        `image` is (*spatial, channels), real numbers; the channel axis may be left out when there is one channel.
        float32 (*grid, channels) comes back, before scale, mean and std, or the uint8 pixels that the graph takes.
        Raises ValueError naming what must hold and what came.
        """
        values = self._checked(image)
        frame = self._frame(values.shape[:-1], affine)
        values = values if frame.turn is None else frame.turn.apply(values)
        if self.takes_pixels:
            values = _pixels(values)
        else:
            values = self._levelled(grid.resample(values.astype(np.float32), frame.sizes))
        if frame.start is not None:
            values = grid.crop(values, frame.start, self.tile, int(self.sliced), fill=float(values.min()))
        return values, frame

    def standardise_labels(self, labels: np.ndarray, affine: np.ndarray | None, outside: int) -> np.ndarray:
        """A label map, or one with a last axis of labels, on the grid that `standardise` puts its image on.

        `outside` is the label beyond the edge of the image.
        """
        frame = self._frame(labels.shape[: self.dimensions], affine)
        labels = labels if frame.turn is None else frame.turn.apply(labels)
        labels = grid.resample_labels(labels, frame.sizes)
        if frame.start is not None:
            labels = grid.crop(labels, frame.start, self.tile, int(self.sliced), fill=outside)
        return labels

    def normalise(self, values: np.ndarray) -> np.ndarray:
        """float32 (channels, *grid) of standardised values, (*grid, channels): (value / scale - mean) / std."""
        # Turned first, then in place: a tenth of the time of the formula as it stands, and the same to the last bit.
        result = np.array(np.moveaxis(values, -1, 0), np.float32, order="C")
        each = (-1, *[1] * (values.ndim - 1))
        mean, std = (np.asarray(item, np.float32).reshape(each) for item in (self.mean, self.std))
        result /= np.float32(self.scale)
        result -= mean
        result /= std
        return result

    def cut(self, image: np.ndarray, affine: np.ndarray | None = None) -> tuple[Iterator[np.ndarray], Geometry]:
        """The tiles of an image one after the other, each of `input_shape`, and how they lie in it.

        They are float32, or uint8 where the graph takes pixels. Raises ValueError for an image that does not fit.
        """
        values, frame = self.standardise(image, affine)
        stack = self._stack(values)
        lead = 1 if self.takes_pixels else 2  # axes before the spatial ones
        spatial = stack.shape[lead : lead + len(self.tile)]
        margins = [max(0, tile - size) for tile, size in zip(self.tile, spatial, strict=True)]
        before = tuple(margin // 2 for margin in margins)
        if any(margins):
            pads = [(low, margin - low) for low, margin in zip(before, margins, strict=True)]
            stack = _padded(stack, [*[(0, 0)] * lead, *pads, *[(0, 0)] * (stack.ndim - lead - len(pads))])
        padded = tuple(size + margin for size, margin in zip(spatial, margins, strict=True))
        starts = [_starts(size, tile, self.overlap) for size, tile in zip(padded, self.tile, strict=True)]
        if self.gives_labels and any(_meet(row, tile) for row, tile in zip(starts, self.tile, strict=True)):
            raise ValueError(
                f"an image must be covered by tiles of {_by(self.tile)} that do not overlap, because the graph decides "
                f"(in_graph: both), one of {_by(spatial)} is not"
            )
        corners = tuple(itertools.product(*starts))
        geometry = Geometry(frame, len(stack), spatial, padded, before, corners)
        tiles = (
            np.ascontiguousarray(item[(*[slice(None)] * (lead - 1), *_window(corner, self.tile))][np.newaxis])
            for item in stack
            for corner in corners
        )
        return tiles, geometry

    def prepare(self, image: np.ndarray, affine: np.ndarray | None = None) -> tuple[np.ndarray, Geometry]:
        """All tiles of the image at once, (n, *input_shape[1:]), and how they lie in it; see `cut`."""
        tiles, geometry = self.cut(image, affine)
        return np.concatenate(list(tiles)), geometry

    def finish(self, outputs: np.ndarray | Iterable[np.ndarray], geometry: Geometry) -> np.ndarray:
        """The answer for one image from the network's answers to its tiles, each logits (classes[, *tile]) or labels.

        Segmentation: a uint8 label map of the image's spatial shape, or 0 / 1 (*spatial, classes) with `sigmoid`;
        where tiles overlap from the mean of their logits. Classification: float32 probabilities (classes,), the
        mean over the tiles. Raises ValueError for outputs of another number or shape, or with NaN or infinity.
        """
        checked = self._answers(outputs, geometry)
        if self.task == "classification":
            probabilities = [
                postprocess.probabilities(np.asarray(output, np.float64), self.activation) for output in checked
            ]
            return np.asarray(np.mean(probabilities, axis=0), np.float32)
        count = len(geometry.corners)
        inside: tuple[Any, ...] = (Ellipsis, *_window(geometry.offset, geometry.spatial))
        items = [self._stitched(itertools.islice(checked, count), geometry)[inside] for _ in range(geometry.stack)]
        for _ in checked:  # lets it see that there are no more
            pass
        if self.gives_labels:
            labels = np.stack(items) if self.sliced else np.ascontiguousarray(items[0])
            return postprocess.cleaned(labels, self.classes, fill=self.fill_holes, largest=self.largest_component)
        logits = np.stack(items, axis=1) if self.sliced else items[0]
        logits = self._back(logits, geometry.frame)
        return postprocess.decide(
            logits, self.activation, self.threshold, fill=self.fill_holes, largest=self.largest_component
        )

    def _answers(self, outputs: np.ndarray | Iterable[np.ndarray], geometry: Geometry) -> Iterator[np.ndarray]:
        expected = self.output_shape[1:]
        wanted = len(geometry.corners) * geometry.stack
        whole = f"the network must return shape {(wanted, *expected)}, it returned"
        if isinstance(outputs, np.ndarray) and outputs.shape != (wanted, *expected):
            raise ValueError(f"{whole} {outputs.shape}")
        came = 0
        for came, output in enumerate(outputs, start=1):
            if came > wanted or output.shape != expected:
                raise ValueError(f"{whole} {output.shape} for tile {came} of {wanted}")
            if self.gives_labels and output.dtype != np.uint8:
                raise ValueError(f"the network must return labels in uint8, it returned {output.dtype}")
            if not self.gives_labels and not np.isfinite(output).all():
                raise ValueError("the network must return finite numbers, it returned NaN or infinity")
            yield output
        if came < wanted:
            raise ValueError(f"{whole} only {came} tiles")

    def _stack(self, values: np.ndarray) -> np.ndarray:
        """The images of standardised values as the graph takes them: (n, channels, *spatial), pixels channels last."""
        if self.takes_pixels:
            return values if self.sliced else values[np.newaxis]
        normalised = self.normalise(values)
        return np.moveaxis(normalised, 1, 0) if self.sliced else normalised[np.newaxis]

    def _checked(self, image: np.ndarray) -> np.ndarray:
        """(*spatial, channels), of finite real numbers."""
        wanted = f"an image must be an array ({'size, ' * self.dimensions}channels) with {self.channels} channel(s)"
        image = np.asarray(image)
        if image.dtype.kind not in "buif":
            raise ValueError(f"{wanted} of real numbers, got dtype {image.dtype}")
        if self.channels == 1 and image.ndim == self.dimensions:
            image = image[..., np.newaxis]
        if image.ndim != self.dimensions + 1 or image.shape[-1] != self.channels:
            raise ValueError(f"{wanted}, got shape {image.shape}")
        if image.size == 0:
            raise ValueError(f"{wanted} and no size may be zero, got shape {image.shape}")
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            raise ValueError(f"{wanted} of finite numbers, got NaN or infinity")
        return image

    def _frame(self, spatial: tuple[int, ...], affine: np.ndarray | None) -> Frame:
        """Where an image of shape `spatial` with this affine goes."""
        if self.needs_affine and affine is None:
            raise ValueError(
                "the image must come with its affine (voxel to mm), because this pipeline orients or resamples it"
            )
        turn = None if self.orientation is None or affine is None else grid.turn_to(self.orientation, affine)
        turned = spatial if turn is None else tuple(spatial[axis] for axis in turn.axes)
        stack, plane = turned[: int(self.sliced)], turned[int(self.sliced) :]
        if self.spacing_mm is not None and affine is not None:
            spacing = grid.spacing_of(affine)
            spacing = spacing if turn is None else tuple(spacing[axis] for axis in turn.axes)
            plane = grid.resampled_sizes(plane, spacing[int(self.sliced) :], self.spacing_mm)
        plane = self.tile if self.fit == "resize" else plane
        start = None
        if self.fit == "center":
            start = tuple((size - tile) // 2 for size, tile in zip(plane, self.tile, strict=True))
        return Frame(spatial, turn, turned, (*stack, *plane), start)

    def _levelled(self, values: np.ndarray) -> np.ndarray:
        """The values with their own intensity range taken out, per channel."""
        if self.clip is not None:
            low, high = (np.float32(limit) for limit in self.clip)
            values = np.clip(values, low, high)
        if self.intensity == "fixed":
            return values
        flat = values.reshape(-1, values.shape[-1])
        if self.intensity == "percentile":
            low, high = np.percentile(flat, self.percentiles, axis=0).astype(np.float32)
            return np.asarray((np.clip(values, low, high) - low) / np.maximum(high - low, 1e-6), np.float32)
        return np.asarray((values - flat.mean(axis=0)) / np.maximum(flat.std(axis=0), 1e-6), np.float32)

    def _stitched(self, outputs: Iterable[np.ndarray], geometry: Geometry) -> np.ndarray:
        """The mean of the tiles' logits, (classes, *padded); labels, whose tiles do not overlap, side by side."""
        if len(geometry.corners) == 1:
            return next(iter(outputs))
        if self.gives_labels:
            labels = np.empty(geometry.padded, np.uint8)
            for corner, output in zip(geometry.corners, outputs, strict=True):
                labels[_window(corner, self.tile)] = output
            return labels
        total = np.zeros((self.classes, *geometry.padded), np.float32)
        count = np.zeros(geometry.padded, np.float32)
        for corner, output in zip(geometry.corners, outputs, strict=True):
            window = _window(corner, self.tile)
            total[(slice(None), *window)] += output
            count[window] += 1
        total /= count
        return total

    def _back(self, logits: np.ndarray, frame: Frame) -> np.ndarray:
        """Logits (classes, *grid) on the image's own grid, (classes, *spatial)."""
        if frame.start is not None:
            whole = np.full((self.classes, *frame.sizes), SURELY_NOT, np.float32)
            if self.activation == "softmax":
                whole[0] = 0.0
            grid.uncrop(whole, logits, frame.start, 1 + int(self.sliced))
            logits = whole
        logits = grid.resample(logits, frame.turned, first_axis=1)
        if frame.turn is not None:
            logits = np.moveaxis(frame.turn.undo(np.moveaxis(logits, 0, -1)), -1, 0)
        return logits


@dataclass(frozen=True)
class Frame:
    """The way from the network's grid back to the image: all shapes on it, and where a cropped centre began."""

    spatial: tuple[int, ...]
    turn: grid.Turn | None
    turned: tuple[int, ...]
    sizes: tuple[int, ...]
    start: tuple[int, ...] | None


@dataclass(frozen=True)
class Geometry:
    """Where the tiles of one image lie: its frame, the number of images in the stack (1 without one), their shape, the
    padded shape, the image's place in it, the tiles' corners."""

    frame: Frame
    stack: int
    spatial: tuple[int, ...]
    padded: tuple[int, ...]
    offset: tuple[int, ...]
    corners: tuple[tuple[int, ...], ...]


def predict(pipeline: Pipeline, run: Run, image: np.ndarray, affine: np.ndarray | None = None) -> np.ndarray:
    """The answer for one image, calling `run` with one tile at a time; see `Pipeline.cut` and `.finish`."""
    tiles, geometry = pipeline.cut(image, affine)
    return pipeline.finish((np.asarray(run(tile))[0] for tile in tiles), geometry)


def with_tile(pipeline: Pipeline, tile: str | None, overlap: float | None) -> Pipeline:
    """The pipeline with another tile, such as 96x96x64, or overlap; None keeps its own. Raises ValueError."""
    sizes = pipeline.tile if tile is None else tuple(int(size) for size in tile.split("x"))
    if len(sizes) != len(pipeline.tile):
        raise ValueError(
            f"the tile must have {len(pipeline.tile)} sizes, such as {'x'.join(map(str, pipeline.tile))}, got {tile}"
        )
    return replace(pipeline, tile=sizes, overlap=pipeline.overlap if overlap is None else overlap)


def _problems(pipeline: Pipeline) -> Iterator[str]:
    """Everything about the pipeline that cannot work, a clause each."""
    choices = {"task": TASKS, "intensity": INTENSITIES, "fit": FITS, "activation": ACTIVATIONS, "in_graph": IN_GRAPH}
    for name, allowed in choices.items():
        if getattr(pipeline, name) not in allowed:
            yield f"{name} must be one of {', '.join(allowed)}, got {getattr(pipeline, name)!r}"
    low, high = pipeline.percentiles
    means, deviations, spacing = pipeline.mean, pipeline.std, pipeline.spacing_mm
    fewest = 2 if pipeline.activation == "softmax" else 1
    volume = pipeline.dimensions == 3
    rules: list[tuple[bool, str, object]] = [
        (fewest <= pipeline.classes < 255, f"classes must be at least {fewest} and below 255", pipeline.classes),
        (pipeline.channels >= 1, "channels must be at least 1", pipeline.channels),
        (min(pipeline.tile, default=0) >= 1, "tile must be sizes of at least 1", pipeline.tile),
        (0 <= pipeline.overlap < 1, "overlap must be a fraction from 0 to less than 1", pipeline.overlap),
        (pipeline.scale > 0, "scale must be larger than 0", pipeline.scale),
        (
            len(means) == len(deviations) == pipeline.channels and min(deviations, default=1.0) > 0,
            f"mean and std must have {pipeline.channels} values, std above 0",
            f"{means} and {deviations}",
        ),
        (0 <= low < high <= 100, "percentiles must be two rising numbers from 0 to 100", pipeline.percentiles),
        (
            pipeline.clip is None or pipeline.clip[0] < pipeline.clip[1],
            "clip must be two rising numbers",
            pipeline.clip,
        ),
        (0 < pipeline.threshold < 1, "threshold must be a fraction between 0 and 1", pipeline.threshold),
        (
            not pipeline.sliced or (len(pipeline.tile) == 2 and pipeline.task == "segmentation"),
            "sliced must mean a segmentation with a tile of two sizes",
            f"a {pipeline.task} with {pipeline.tile}",
        ),
        (
            pipeline.orientation is None or (volume and grid.is_orientation(pipeline.orientation)),
            "orientation must be three letters such as RAS, for 3D images",
            repr(pipeline.orientation),
        ),
        (
            spacing is None or (volume and len(spacing) == len(pipeline.tile) and min(spacing) > 0),
            "spacing_mm must have one size above 0 per axis of the tile, for 3D images",
            spacing,
        ),
    ]
    yield from (f"{text}, got {got}" for holds, text, got in rules if not holds)
    yield from _in_graph_problems(pipeline)


def _in_graph_problems(pipeline: Pipeline) -> Iterator[str]:
    """Why the graph cannot do what `in_graph` says."""
    makes_floats = {
        "resized": pipeline.fit == "resize",
        "resampled": pipeline.spacing_mm is not None,
        "turned": pipeline.orientation is not None,
        "clipped": pipeline.clip is not None,
        f"scaled by its own {pipeline.intensity}": pipeline.intensity != "fixed",
    }
    done = [word for word, holds in makes_floats.items() if holds]
    if pipeline.takes_pixels and done:
        yield f"in_graph must be none where an image is {' and '.join(done)} first, got {pipeline.in_graph}"
    kind = (pipeline.task, pipeline.activation, pipeline.fit)
    if pipeline.gives_labels and kind != ("segmentation", "softmax", "tile"):
        yield (
            "in_graph must not be both but for a segmentation with softmax and fit tile, "
            f"got a {pipeline.task} with {pipeline.activation} and fit {pipeline.fit}"
        )


def _starts(size: int, tile: int, overlap: float) -> list[int]:
    """Evenly spread starts of the fewest tiles that cover `size` and overlap by at least the fraction."""
    stride = max(1, int(tile * (1 - overlap)))
    count = 1 + -(-(size - tile) // stride)
    return [0] if count == 1 else [round(index * (size - tile) / (count - 1)) for index in range(count)]


def _meet(starts: list[int], tile: int) -> bool:
    """Whether neighbouring tiles along one axis overlap."""
    return any(second - first < tile for first, second in itertools.pairwise(starts))


def _pixels(values: np.ndarray) -> np.ndarray:
    """The values as uint8, where that loses nothing. Raises ValueError."""
    if values.dtype == np.uint8:
        return values
    if not ((values >= 0) & (values <= 255) & (values == np.trunc(values))).all():
        raise ValueError(
            "an image must hold whole numbers from 0 to 255, because the graph takes pixels in 8 bits, "
            f"got {values.dtype} from {values.min():g} to {values.max():g}"
        )
    return values.astype(np.uint8)


def _by(sizes: tuple[int, ...]) -> str:
    return "x".join(map(str, sizes))


def _padded(values: np.ndarray, pads: list[tuple[int, int]]) -> np.ndarray:
    # Reflection needs no new colours, but mirrors at most size - 1 pixels: what is smaller repeats its edge.
    mirrors = all(max(pad) < size for pad, size in zip(pads, values.shape, strict=True))
    return np.pad(values, pads, mode="reflect" if mirrors else "edge")


def _window(corner: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(start, start + size) for start, size in zip(corner, sizes, strict=True))

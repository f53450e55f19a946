"""The inference pipeline in numpy, from an image to an answer: one code for worker, bundle and training.

Each step is a file: frame.py puts the image on the network's grid and back, intensity.py scales and normalises its
values, tiling.py cuts tiles and stitches their outputs, postprocess.py decides and cleans up. This file is their order.

Nothing depends on the number of spatial axes: a tile of two sizes makes a 2D pipeline, of three a 3D one. scipy is
imported only where holes are filled or components chosen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from autoopt.inference import intensity, postprocess
from autoopt.inference.frame import (
    Frame,
    cropped,
    frame_of,
    labels_on_grid,
    labels_on_image,
    on_grid,
    turned,
    uncropped,
    values_on_image,
)
from autoopt.inference.pipeline_checks import checked_image, checked_outputs, setting_problems
from autoopt.inference.pipeline_settings import PipelineSettings
from autoopt.inference.tiling import Tiling, cut_tiles, stitched

Run = Callable[[np.ndarray], np.ndarray]
"""One call of a model: float32 (n, channels, *tile) in, (n, classes[, *tile]) out; other shapes with `in_graph`."""


@dataclass(frozen=True)
class Pipeline(PipelineSettings):
    """What happens to an image before and after the network, as plain data.

    Before the network, in this order:

    - `transposed` swaps the axes of a 2D image: the network sees columns and rows. `orientation` (such as RAS) turns
      the axes of a 3D image, `spacing_mm` resamples it; both need its affine. With `spacing_grid` extent the field of
      view stays the same, with first_voxel the centre of the first voxel does. `interpolation`: see `grid.KERNELS`.
    - `clip` limits the values. Then `intensity` scales each channel by the image itself: percentile clips to two
      `percentiles` and scales to 0..1, zscore subtracts the mean and divides by the standard deviation, fixed does
      nothing.
    - Every channel is normalised with fixed numbers: (value / `scale` - `mean`) / `std`.
    - `fit` makes calls of size `tile`: tile is a sliding window whose neighbours share at least the fraction `overlap`
      of their size, resize the whole image in one call, center its middle. `windows` even spreads the fewest windows
      evenly, stride puts them at fixed distances, the last at the edge. An image smaller than a window is mirrored at
      its edges, or with `padding` zero put among zeros, after its normalisation.

    With `sliced` the first axis of an image is a stack of 2D images. After the network its logits are put back on the
    image's own grid; or with `restore` the probabilities, or the labels (each voxel takes the nearest). `activation`
    decides: with softmax the class with the largest logit, with sigmoid every class whose probability reaches
    `threshold` (several labels at once). Last `largest_component` and `fill_holes` clean up every label but the
    background; voxels that touch by a face are connected, with `connectivity` 2 and 3 also by an edge and a corner.

    `output` says what the network answers with. Where it is probabilities, those of softmax or sigmoid, they are turned
    back into logits first, so that tiles are joined as those of the same network without its last operation are.

    `in_graph` names what the graph does itself: with input a call takes the pixels as they are, uint8
    (1, *tile, channels), and normalises them; with both it also decides, and its output is labels, uint8 (1, *tile).

    Raises ValueError naming everything that cannot work.
    """

    def __post_init__(self) -> None:
        problems = list(setting_problems(self))
        if problems:
            raise ValueError("a pipeline cannot work: " + "; ".join(problems))

    def standardise(self, image: np.ndarray, affine: np.ndarray | None = None) -> tuple[np.ndarray, Frame]:
        """The image on the network's grid, scaled by itself but not yet normalised, and the way back.

        `image` is (*spatial, channels), real numbers; the channel axis may be left out when there is one channel.
        Returns float32 (*grid, channels), or uint8 pixels where the graph takes them. Raises ValueError naming what
        must hold and what came.
        """
        values = checked_image(self, image)
        frame = frame_of(self, values.shape[:-1], affine)
        values = turned(values, frame)
        if self.takes_pixels:
            values = intensity.as_pixels(values)
        else:
            values = intensity.scaled(on_grid(values.astype(np.float32), frame, self), self)
        return cropped(values, frame, self), frame

    def standardise_labels(self, labels: np.ndarray, affine: np.ndarray | None, outside: int) -> np.ndarray:
        """A label map, or one with a last axis of labels, on the grid that `standardise` puts its image on.

        `outside` is the label beyond the edge of the image.
        """
        frame = frame_of(self, labels.shape[: self.dimensions], affine)
        return labels_on_grid(labels, frame, self, outside)

    def normalise(self, values: np.ndarray) -> np.ndarray:
        """float32 (channels, *grid) of standardised values, (*grid, channels): (value / scale - mean) / std."""
        return intensity.normalised(values, self)

    def cut(self, image: np.ndarray, affine: np.ndarray | None = None) -> tuple[Iterator[np.ndarray], Tiling]:
        """The tiles of an image one after the other, each of `input_shape`, and how they lie in it.

        They are float32, or uint8 where the graph takes pixels. Raises ValueError for an image that does not fit.
        """
        values, frame = self.standardise(image, affine)
        if not self.takes_pixels:
            values = self.normalise(values)
            values = np.moveaxis(values, 1, 0) if self.sliced else values[np.newaxis]
        elif not self.sliced:
            values = values[np.newaxis]
        return cut_tiles(values, frame, self)

    def prepare(self, image: np.ndarray, affine: np.ndarray | None = None) -> tuple[np.ndarray, Tiling]:
        """All tiles of the image at once, (n, *input_shape[1:]), and how they lie in it; see `cut`."""
        tiles, tiling = self.cut(image, affine)
        return np.concatenate(list(tiles)), tiling

    def finish(self, outputs: np.ndarray | Iterable[np.ndarray], tiling: Tiling) -> np.ndarray:
        """The answer for one image from the network's outputs for its tiles, each (classes[, *tile]) or labels.

        Segmentation: a uint8 label map of the image's spatial shape, or 0 / 1 (*spatial, classes) with `sigmoid`;
        where tiles overlap from the mean of their logits. Classification: float32 probabilities (classes,), the
        mean over the tiles. Raises ValueError for outputs of another number or shape, with NaN or infinity, or of
        probabilities outside 0 to 1.
        """
        return self._finished(outputs, tiling, likely=False)[0]

    def finish_both(self, outputs: np.ndarray | Iterable[np.ndarray], tiling: Tiling) -> tuple[np.ndarray, np.ndarray]:
        """What `finish` answers, and the probabilities that it decided on, float32 (*spatial, classes) or (classes,).

        Clean-up changes labels and no probability; with `restore` labels each voxel has the nearest label, while its
        probabilities are interpolated. Raises ValueError as `finish`, and where the graph decides itself.
        """
        if self.gives_labels:
            raise ValueError("there are no probabilities, because the graph decides itself (in_graph: both)")
        answer, likely = self._finished(outputs, tiling, likely=True)
        assert likely is not None
        return answer, likely

    def _finished(
        self, outputs: np.ndarray | Iterable[np.ndarray], tiling: Tiling, *, likely: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """The answer, and with `likely` its probabilities."""
        checked = checked_outputs(self, outputs, tiling.count)
        if self.output == "probabilities" and not self.gives_labels:
            checked = (postprocess.logits_of(output, self.activation) for output in checked)
        if self.task == "classification":
            probabilities = [
                postprocess.probabilities(np.asarray(output, np.float64), self.activation) for output in checked
            ]
            mean = np.asarray(np.mean(probabilities, axis=0), np.float32)
            return mean, mean
        tiles = len(tiling.corners)
        items = [stitched(itertools.islice(checked, tiles), tiling, self) for _ in range(tiling.stack)]
        for _ in checked:  # one output too many is found by asking for it
            pass
        if self.gives_labels:
            labels = np.stack(items) if self.sliced else np.ascontiguousarray(items[0])
            return self._cleaned(labels_on_image(labels, tiling.frame, self)), None
        values = uncropped(np.stack(items, axis=1) if self.sliced else items[0], tiling.frame, self)
        if self.restore == "labels":
            labels = labels_on_image(self._decided(values, sure=False), tiling.frame, self)
            values = values_on_image(values, tiling.frame, self) if likely else values
            return self._cleaned(labels), self._likely(values, sure=False) if likely else None
        sure = self.restore == "probabilities"
        if sure:
            values = postprocess.probabilities(values, self.activation)
        values = values_on_image(values, tiling.frame, self)
        return self._cleaned(self._decided(values, sure=sure)), self._likely(values, sure=sure) if likely else None

    def _decided(self, values: np.ndarray, *, sure: bool) -> np.ndarray:
        return postprocess.decide(values, self.activation, self.threshold, sure=sure)

    def _likely(self, values: np.ndarray, *, sure: bool) -> np.ndarray:
        """float32 (*spatial, classes) of logits (classes, *spatial), or with `sure` of probabilities."""
        values = values if sure else postprocess.probabilities(values, self.activation)
        return np.ascontiguousarray(np.moveaxis(values, 0, -1), np.float32)

    def _cleaned(self, labels: np.ndarray) -> np.ndarray:
        if not (self.fill_holes or self.largest_component):
            return labels
        return postprocess.cleaned(labels, self)


def predict(pipeline: Pipeline, run: Run, image: np.ndarray, affine: np.ndarray | None = None) -> np.ndarray:
    """The answer for one image, calling `run` with one tile at a time; see `Pipeline.cut` and `.finish`."""
    tiles, tiling = pipeline.cut(image, affine)
    return pipeline.finish((np.asarray(run(tile))[0] for tile in tiles), tiling)


def predict_both(
    pipeline: Pipeline, run: Run, image: np.ndarray, affine: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The answer for one image and its probabilities; see `predict` and `Pipeline.finish_both`."""
    tiles, tiling = pipeline.cut(image, affine)
    return pipeline.finish_both((np.asarray(run(tile))[0] for tile in tiles), tiling)


def with_tile(pipeline: Pipeline, tile: str | None, overlap: float | None) -> Pipeline:
    """The pipeline with another tile, such as 96x96x64, or overlap; None keeps its own. Raises ValueError."""
    sizes = pipeline.tile if tile is None else tuple(int(size) for size in tile.split("x"))
    if len(sizes) != len(pipeline.tile):
        raise ValueError(
            f"the tile must have {len(pipeline.tile)} sizes, such as {'x'.join(map(str, pipeline.tile))}, got {tile}"
        )
    return replace(pipeline, tile=sizes, overlap=pipeline.overlap if overlap is None else overlap)

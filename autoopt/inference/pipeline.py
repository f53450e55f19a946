"""The inference pipeline in numpy, from an image to an answer: one code for worker, bundle and training.

The folder steps/ has what happens to an image, frame.py its way through the steps and back, intensity.py the fixed
numbers at the end, tiling.py cuts tiles and stitches their outputs, postprocess.py decides and cleans up. This file is
their order.

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
    labels_back,
    labels_on_grid,
    rounded_back,
    through_steps,
    uncropped,
    values_back,
)
from autoopt.inference.pipeline_checks import checked_image, checked_outputs, setting_problems
from autoopt.inference.pipeline_settings import PipelineSettings
from autoopt.inference.tiling import Tiling, cut_tiles, stitched

Run = Callable[[np.ndarray], np.ndarray]
"""One call of a model: float32 (n, channels, *tile) in, (n, classes[, *tile]) out; other shapes with `in_graph`."""


@dataclass(frozen=True)
class Pipeline(PipelineSettings):
    """What happens to an image before and after the network, as plain data.

    Before the network the image goes through `steps`, in their order; each kind is described at its class (`STEPS` in
    steps/table.py). Pipelines that need no order of their own say the same in fields, which are done in this order:

    - `transposed` swaps the axes of a 2D image: the network sees columns and rows. `orientation` (such as RAS) turns
      the axes of a 3D image, `spacing_mm` resamples it; both need its affine. With `spacing_grid` extent the field of
      view stays the same, with first_voxel the centre of the first voxel does. `interpolation`: see `grid.KERNELS`.
    - `clip` limits the values. Then `intensity` scales each channel by the image itself: percentile clips to two
      `percentiles` and scales to 0..1, zscore subtracts the mean and divides by the standard deviation, fixed does
      nothing.

    Then, in both cases:

    - Every channel is normalised with fixed numbers: (value / `scale` - `mean`) / `std`.
    - `fit` makes calls of size `tile`: tile is a sliding window whose neighbours share at least the fraction `overlap`
      of their size, resize the whole image in one call, center its middle. `windows` even spreads the fewest windows
      evenly, stride puts them at fixed distances, the last at the edge, nnunet evenly by a step that need not be a
      whole number of voxels. An image smaller than a window is mirrored at its edges, or with `padding` zero put among
      zeros, with edge continued by its outermost voxels, after its normalisation. A call is repeated for all
      combinations of the axes of `mirror`, mirrored there and back, and the mean is taken (test-time augmentation).
      Where windows overlap, `blend` says how much each place counts: all the same (mean), with MONAI's Gaussian of the
      width `blend_sigma` (a share of the window), or with nnU-Net's. `sums` float16 adds up as nnU-Net does, to be
      compared with it.

    With `sliced` the first axis of an image is a stack of 2D images. After the network its logits are put back on the
    image's own grid; or with `restore` the probabilities, or the labels (each voxel takes the nearest; rounded: they
    are mixed as numbers and rounded, which puts label 1 between 0 and 2: what some bundles of MONAI do). `activation`
    decides: with softmax the class with the largest logit, with sigmoid every class whose probability reaches
    `threshold` (several labels at once). With `paint` these become one label per place: where the probability of class
    i is above the threshold, label paint[i], a later class over an earlier one; `regions` has the labels that class i
    is made of there, where these are not its own alone. Last `largest_component` and `fill_holes` clean up (with
    `cleaned_on` network before labels are put back) every label but the background; voxels that touch by a face are
    connected, with `connectivity` 2 and 3 also by an edge and a corner.

    `output` says what the network answers with. Where it is probabilities, those of softmax or sigmoid, they are turned
    back into logits first, so that tiles are joined as those of the same network without its last operation are. The
    answer of a regression, whose `activation` is identity, are the numbers of the network as they are, one a class.

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
        values = intensity.as_pixels(values) if self.takes_pixels else values.astype(np.float32)
        values, frame = through_steps(self, values, affine)
        return cropped(values, frame, self), frame

    def standardise_labels(self, labels: np.ndarray, frame: Frame, outside: int) -> np.ndarray:
        """A label map, or one with a last axis of labels, on the grid of its image, whose `frame` `standardise` gave.

        `outside` is the label beyond the edge of the image.
        """
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
        mean over the tiles; regression: the numbers themselves, likewise. Raises ValueError for outputs of another
        number or shape, with NaN or infinity, or of probabilities outside 0 to 1.
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
        if self.task == "regression":
            numbers = np.asarray(np.mean([np.asarray(output, np.float64) for output in checked], axis=0), np.float32)
            return numbers, numbers
        if self.task == "classification":
            probabilities = [
                postprocess.probabilities(np.asarray(output, np.float64), self.activation) for output in checked
            ]
            mean = np.asarray(np.mean(probabilities, axis=0), np.float32)
            return mean, mean
        values = self._joined(checked, tiling)
        if self.gives_labels:
            return self._cleaned(labels_back(values, tiling.frame.moves)), None
        return self._answered(values, tiling.frame, likely=likely)

    def joined(self, outputs: np.ndarray | Iterable[np.ndarray], tiling: Tiling) -> np.ndarray:
        """The logits (classes, *grid) of one image on the network's grid, from the outputs for its tiles.

        float32, or float16 where `sums` says so. For a segmentation whose graph does not decide. Raises ValueError as
        `finish`.
        """
        return self._joined(checked_outputs(self, outputs, tiling.count), tiling)

    def answer(self, logits: np.ndarray, frame: Frame) -> np.ndarray:
        """The answer on the image's own grid from what `joined` gave for it."""
        return self._answered(logits, frame, likely=False)[0]

    def _joined(self, checked: Iterator[np.ndarray], tiling: Tiling) -> np.ndarray:
        """Logits (classes, *grid), or labels (*grid), of all images of a stack."""
        items = [stitched(itertools.islice(checked, tiling.each), tiling, self) for _ in range(tiling.stack)]
        for _ in checked:  # one output too many is found by asking for it
            pass
        if self.gives_labels:
            return np.stack(items) if self.sliced else np.ascontiguousarray(items[0])
        return uncropped(np.stack(items, axis=1) if self.sliced else items[0], tiling.frame, self)

    def _answered(self, values: np.ndarray, frame: Frame, *, likely: bool) -> tuple[np.ndarray, np.ndarray | None]:
        """The answer from logits (classes, *grid), and with `likely` its probabilities.

        What is decided goes back as labels as soon as no move mixes voxels any more: they are smaller than logits.
        """
        exact = frame.exact
        if self.restore in ("labels", "rounded"):
            labels = self._decided(values, sure=False)
            first = self.cleaned_on == "network"
            labels = self._cleaned(labels) if first else labels
            labels = (rounded_back if self.restore == "rounded" else labels_back)(labels, frame.moves)
            values = values_back(values, frame, self, sure=False) if likely else values
            return labels if first else self._cleaned(labels), self._likely(values, sure=False) if likely else None
        sure = self.restore == "probabilities"
        if sure:
            values = postprocess.probabilities(values, self.activation)
        values = values_back(values, frame, self, sure=sure, first=exact)
        labels = self._cleaned(labels_back(self._decided(values, sure=sure), frame.moves[:exact]))
        if not likely:
            return labels, None
        whole = replace(frame, moves=frame.moves[:exact])
        return labels, self._likely(values_back(values, whole, self, sure=sure), sure=sure)

    def _decided(self, values: np.ndarray, *, sure: bool) -> np.ndarray:
        if self.paint:
            return postprocess.painted(values, self.paint, self.threshold, sure=sure)
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

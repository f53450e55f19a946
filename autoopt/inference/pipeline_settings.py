"""The settings of an inference pipeline as plain data, what follows from them, and JSON both ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

from autoopt.inference.steps.axes import Axes, Orient
from autoopt.inference.steps.base import Step
from autoopt.inference.steps.own_range import OwnRange, Percentile, ZScore
from autoopt.inference.steps.resample import Resample, Resize
from autoopt.inference.steps.spline import ResampleSpline
from autoopt.inference.steps.table import from_json, to_json
from autoopt.inference.steps.values import Clip

SCHEMA = 2
READABLE = (1, 2)
"""The schemas that are read. Schema 2 only added fields; settings without one have its default."""
TASKS = ("segmentation", "classification", "regression")
INTENSITIES = ("fixed", "percentile", "zscore")
FITS = ("tile", "resize", "center")
ACTIVATIONS = ("softmax", "sigmoid", "identity")
OUTPUTS = ("logits", "probabilities")
SPACING_GRIDS = ("extent", "first_voxel")
WINDOWS = ("even", "stride", "nnunet")
PADDINGS = ("mirror", "zero", "edge")
RESTORES = ("logits", "probabilities", "labels", "rounded")
CLEANED = ("image", "network")
"""On whose grid an answer is cleaned up."""
SUMS = ("float32", "float16")
EIGHT_BITS = 255.0
"""What pictures of 8 bits are divided by."""
NEED_SCIPY = ("nnunet",)
"""The values of `blend` that need scipy."""
IN_GRAPH = ("none", "input", "both")
"""What the graph does of the pipeline itself, each value including the one before it."""
FIELDS = ("transposed", "orientation", "spacing_mm", "spacing_grid", "clip", "intensity")
"""The fields that stand for steps. With a list of steps they keep their defaults."""
ADDED = (
    "in_graph",
    "output",
    "transposed",
    "spacing_grid",
    "interpolation",
    "windows",
    "padding",
    "restore",
    "connectivity",
    "steps",
    "blend",
    "blend_sigma",
    "mirror",
    "sums",
    "paint",
    "cleaned_on",
    "regions",
)
"""Fields that are younger than the schema: they are written only where they differ from their default."""


@dataclass(frozen=True)
class PipelineSettings:
    """The fields of a `Pipeline`, unchecked; `Pipeline` says what each one means."""

    task: Literal["segmentation", "classification", "regression"]
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
    activation: Literal["softmax", "sigmoid", "identity"] = "softmax"
    threshold: float = 0.5
    fill_holes: bool = False
    largest_component: bool = False
    in_graph: Literal["none", "input", "both"] = "none"
    output: Literal["logits", "probabilities"] = "logits"
    transposed: bool = False
    spacing_grid: Literal["extent", "first_voxel"] = "extent"
    interpolation: Literal["smooth", "linear", "corners", "area"] = "smooth"
    windows: Literal["even", "stride", "nnunet"] = "even"
    padding: Literal["mirror", "zero", "edge"] = "mirror"
    restore: Literal["logits", "probabilities", "labels", "rounded"] = "logits"
    connectivity: int = 1
    steps: tuple[Step, ...] = ()
    blend: str = "mean"
    blend_sigma: float = 0.125
    mirror: tuple[int, ...] = ()
    sums: Literal["float32", "float16"] = "float32"
    paint: tuple[int, ...] = ()
    cleaned_on: Literal["image", "network"] = "image"
    regions: tuple[tuple[int, ...], ...] = ()

    @property
    def chain(self) -> tuple[Step, ...]:
        """What happens to an image before it is cut, in order: `steps`, or the steps that the other fields stand for.

        With `fit` resize the last step that moves voxels makes the image one call.
        """
        resized = (Resize(self.tile, self.interpolation),) if self.fit == "resize" else ()
        return (*self.steps, *resized) if self.steps else tuple(self._steps_of_fields())

    def _steps_of_fields(self) -> Iterator[Step]:
        """The steps that the fields of `FIELDS` stand for."""
        if self.orientation is not None:
            yield Orient(self.orientation)
        elif self.transposed:
            yield Axes((1, 0))
        if self.fit == "resize":  # at once, also where a voxel size is given: every interpolation blurs
            yield Resize(self.tile, self.interpolation)
        elif self.spacing_mm is not None:
            yield Resample(self.spacing_mm, self.spacing_grid, self.interpolation)
        if self.clip is not None:
            yield Clip(low=self.clip[0], high=self.clip[1])
        if self.intensity == "percentile":
            yield Percentile(low=self.percentiles[0], high=self.percentiles[1])
        elif self.intensity == "zscore":
            yield ZScore()

    @property
    def own_numbers(self) -> bool:
        """Whether values are scaled by numbers of the image itself."""
        return any(isinstance(step, OwnRange) for step in self.chain)

    @property
    def turns_axes(self) -> bool:
        """Whether the axes of an image are brought into an order of the pipeline's own."""
        return any(isinstance(step, Axes | Orient) for step in self.chain)

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """The voxel size in mm of a network call; None where images keep theirs."""
        sizes = [step.spacing_mm for step in self.chain if isinstance(step, Resample | ResampleSpline)]
        return sizes[-1] if sizes else None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one call: (1, channels, *tile), or (1, *tile, channels) where the graph takes pixels."""
        return (1, *self.tile, self.channels) if self.takes_pixels else (1, self.channels, *self.tile)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of its output: (1, classes, *tile), (1, classes) without a label map, (1, *tile) of labels."""
        spatial = self.tile if self.task == "segmentation" else ()
        return (1, *spatial) if self.gives_labels else (1, self.classes, *spatial)

    @property
    def takes_pixels(self) -> bool:
        """Whether the graph normalises: a call takes uint8, channels last, instead of float32, channels first."""
        return self.in_graph != "none"

    @property
    def takes_8_bits(self) -> bool:
        """Whether images are pictures of 8 bits, as what they are divided by tells: values of 0 to 1 would be black."""
        return self.takes_pixels or self.scale == EIGHT_BITS

    @property
    def gives_labels(self) -> bool:
        """Whether the graph decides: its output is uint8 labels instead of logits."""
        return self.in_graph == "both"

    @property
    def dimensions(self) -> int:
        """The number of spatial axes of an image, the axis of a stack included."""
        return len(self.tile) + self.sliced

    @property
    def needs_affine(self) -> bool:
        """Whether an image must come with its affine."""
        asked = self.orientation is not None or self.spacing_mm is not None
        return asked or any(step.needs_affine for step in self.chain)

    @property
    def needs_scipy(self) -> bool:
        """Whether scipy is needed beside numpy."""
        cleans = self.fill_holes or self.largest_component
        return cleans or self.blend in NEED_SCIPY or any(step.needs_scipy for step in self.chain)

    @property
    def labels(self) -> int:
        """The number of labels that an answer may hold: the classes, or with `paint` all up to the highest one."""
        return max(self.paint) + 1 if self.paint else self.classes

    @property
    def multilabel(self) -> bool:
        """Whether an answer has a 0 or 1 for each label, of a segmentation in a last axis, instead of one label."""
        return self.activation == "sigmoid" and not self.paint

    def to_json(self) -> dict[str, Any]:
        """The settings as plain JSON, with the schema."""
        values = {field.name: getattr(self, field.name) for field in fields(PipelineSettings)}
        plain = {name: list(item) if isinstance(item, tuple) else item for name, item in values.items()}
        plain["steps"] = [to_json(step) for step in self.steps]
        plain["regions"] = [list(region) for region in self.regions]
        for name in ADDED:  # left out, so that what was made before there was such a field keeps its digest
            if getattr(self, name) == _DEFAULTS[name]:
                del plain[name]
        return {"schema": SCHEMA, **plain}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `to_json` wrote. Raises ValueError for a schema that this version cannot read, TypeError for others."""
        if value.get("schema") not in READABLE:
            raise ValueError(f"a pipeline of schema {SCHEMA} is needed, this one has {value.get('schema')!r}")
        given: dict[str, Any] = {name: item for name, item in value.items() if name != "schema"}
        given.update({name: tuple(item) for name, item in given.items() if isinstance(item, list)})
        if isinstance(given.get("steps"), tuple):
            given["steps"] = tuple(from_json(step) for step in given["steps"])
        if isinstance(given.get("regions"), tuple):
            given["regions"] = tuple(tuple(item) if isinstance(item, list) else item for item in given["regions"])
        return cls(**given)


_DEFAULTS = {field.name: field.default for field in fields(PipelineSettings)}

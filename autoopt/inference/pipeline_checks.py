"""What must hold of a pipeline's settings, of an image, and of the network's outputs. All else is refused in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields

import numpy as np

from autoopt.core.plain_text import short
from autoopt.inference import grid
from autoopt.inference.blending import BLENDS
from autoopt.inference.pipeline_settings import (
    ACTIVATIONS,
    CLEANED,
    FIELDS,
    FITS,
    IN_GRAPH,
    INTENSITIES,
    OUTPUTS,
    PADDINGS,
    RESTORES,
    SPACING_GRIDS,
    SUMS,
    TASKS,
    WINDOWS,
    PipelineSettings,
)
from autoopt.inference.steps.base import Step, finite, listed, whole
from autoopt.inference.steps.table import STEPS, name_of

PROBABILITY_SLACK = 0.01
"""How far a probability may lie outside 0 to 1: a quantized graph rounds them."""

LEAST_SIGMA = 0.001
"""Of the width of a Gaussian: of one far below it the squares are zero, and its weights are no numbers."""
MOST_AXES = 3
MOST_VALUES = 2**31
"""Of the input of one call, and of its output: 8 GB of float32."""


def setting_problems(settings: PipelineSettings) -> Iterator[str]:
    """Everything about the settings that cannot work, a clause each; nothing when they can."""
    wrong = list(_type_problems(settings))
    if wrong:
        yield from wrong
        return
    choices = {
        "task": TASKS,
        "intensity": INTENSITIES,
        "fit": FITS,
        "activation": ACTIVATIONS,
        "in_graph": IN_GRAPH,
        "output": OUTPUTS,
        "spacing_grid": SPACING_GRIDS,
        "interpolation": grid.KERNELS,
        "windows": WINDOWS,
        "padding": PADDINGS,
        "restore": RESTORES,
        "cleaned_on": CLEANED,
        "blend": tuple(BLENDS),
        "sums": SUMS,
    }
    for name, allowed in choices.items():
        if getattr(settings, name) not in allowed:
            yield f"{name} must be one of {', '.join(allowed)}, got {short(getattr(settings, name))}"
    rules = [*_size_rules(settings), *_value_rules(settings), *_space_rules(settings), *_answer_rules(settings)]
    yield from (f"{text}, got {got if isinstance(got, str) else short(got)}" for holds, text, got in rules if not holds)
    yield from _step_problems(settings)
    yield from _in_graph_problems(settings)


def checked_image(settings: PipelineSettings, image: np.ndarray) -> np.ndarray:
    """The image as (*spatial, channels); the channel axis may be missing when there is one channel.

    Raises ValueError unless it has the right axes, no size of zero, and finite real numbers.
    """
    wanted = f"an image must be an array ({'size, ' * settings.dimensions}channels) with {settings.channels} channel(s)"
    image = np.asarray(image)
    if image.dtype.kind not in "buif":
        raise ValueError(f"{wanted} of real numbers, got dtype {image.dtype}")
    if settings.channels == 1 and image.ndim == settings.dimensions:
        image = image[..., np.newaxis]
    if image.ndim != settings.dimensions + 1 or image.shape[-1] != settings.channels:
        raise ValueError(f"{wanted}, got shape {image.shape}")
    if image.size == 0:
        raise ValueError(f"{wanted} and no size may be zero, got shape {image.shape}")
    if image.dtype.kind == "f" and not np.isfinite(image).all():
        raise ValueError(f"{wanted} of finite numbers, got NaN or infinity")
    return image


def checked_outputs(
    settings: PipelineSettings, outputs: np.ndarray | Iterable[np.ndarray], count: int
) -> Iterator[np.ndarray]:
    """The network's outputs for `count` tiles, one after the other, each checked when it is its turn.

    Raises ValueError for outputs of another number or shape, with NaN or infinity, or of a type that is no label's.
    """
    expected = settings.output_shape[1:]
    whole = f"the network must return shape {(count, *expected)}, it returned"
    if isinstance(outputs, np.ndarray) and outputs.shape != (count, *expected):
        raise ValueError(f"{whole} {outputs.shape}")
    came = 0
    for came, output in enumerate(outputs, start=1):
        if came > count or output.shape != expected:
            raise ValueError(f"{whole} {output.shape} for tile {came} of {count}")
        if settings.gives_labels and output.dtype != np.uint8:
            raise ValueError(f"the network must return labels in uint8, it returned {output.dtype}")
        if not settings.gives_labels and not np.isfinite(output).all():
            raise ValueError("the network must return finite numbers, it returned NaN or infinity")
        if (problem := probability_problem(settings, output)) is not None:
            raise ValueError(f"the network {problem}")
        yield output
    if came < count:
        raise ValueError(f"{whole} only {came} tiles")


def probability_problem(settings: PipelineSettings, outputs: np.ndarray) -> str | None:
    """What is wrong with outputs that the pipeline takes for probabilities, as the end of a sentence, or None."""
    if settings.output != "probabilities" or settings.gives_labels:
        return None
    low, high = float(outputs.min()), float(outputs.max())
    if low >= -PROBABILITY_SLACK and high <= 1 + PROBABILITY_SLACK:
        return None
    return f"must return probabilities from 0 to 1, it returned {low:.4g} to {high:.4g}"


def _type_problems(settings: PipelineSettings) -> Iterator[str]:
    """Settings that are no numbers, words or truths where they must be: bundles come from anywhere."""
    axes = f"1 to {MOST_AXES} sizes"
    tile, numbers, spacing = settings.tile, (settings.overlap, settings.scale, settings.threshold), settings.spacing_mm
    rules = [
        (whole(settings.classes), "classes must be a whole number", settings.classes),
        (whole(settings.channels), "channels must be a whole number", settings.channels),
        (listed(tile, whole) and len(tile) <= MOST_AXES, f"tile must be {axes}, whole numbers", tile),
        (all(map(finite, numbers)), "overlap, scale and threshold must be finite numbers", numbers),
        (listed(settings.mean, finite), "mean must be finite numbers", settings.mean),
        (listed(settings.std, finite), "std must be finite numbers", settings.std),
        (listed(settings.percentiles, finite, 2), "percentiles must be two finite numbers", settings.percentiles),
        (settings.clip is None or listed(settings.clip, finite, 2), "clip must be two finite numbers", settings.clip),
        (spacing is None or listed(spacing, finite), "spacing_mm must be finite numbers", spacing),
        (
            settings.orientation is None or isinstance(settings.orientation, str),
            "orientation must be a text",
            settings.orientation,
        ),
    ]
    truths = {name: getattr(settings, name) for name in ("sliced", "transposed", "fill_holes", "largest_component")}
    rules += [
        (listed(settings.steps, _is_step), "steps must be a list of steps", settings.steps),
        (finite(settings.blend_sigma), "blend_sigma must be a finite number", settings.blend_sigma),
        (whole(settings.connectivity), "connectivity must be a whole number", settings.connectivity),
        (listed(settings.mirror, whole), "mirror must be whole numbers, the axes of the tile", settings.mirror),
        (listed(settings.paint, whole), "paint must be whole numbers, a label per class", settings.paint),
        (
            listed(settings.regions, lambda region: listed(region, whole)),
            "regions must be lists of labels, one per class",
            settings.regions,
        ),
    ]
    rules += [(isinstance(value, bool), f"{name} must be true or false", value) for name, value in truths.items()]
    yield from (f"{text}, got {short(got)}" for holds, text, got in rules if not holds)
    if all(holds for holds, _, _ in rules):
        for name, count in (("channels", settings.channels), ("classes", settings.classes)):
            if math.prod(tile) * count > MOST_VALUES:
                yield f"a call must have at most {MOST_VALUES:g} values, got tile and {name} {short((tile, count))}"


def _is_step(value: object) -> bool:
    return f"{type(value).__module__}:{type(value).__qualname__}" in STEPS.values()


Rule = tuple[bool, str, object]
"""Whether it holds, what must hold, and what came."""


def _size_rules(settings: PipelineSettings) -> list[Rule]:
    fewest = 2 if settings.activation == "softmax" else 1
    return [
        (fewest <= settings.classes < 255, f"classes must be at least {fewest} and below 255", settings.classes),
        (settings.channels >= 1, "channels must be at least 1", settings.channels),
        (min(settings.tile, default=0) >= 1, "tile must be sizes of at least 1", settings.tile),
        (0 <= settings.overlap < 1, "overlap must be a fraction from 0 to less than 1", settings.overlap),
    ]


def _value_rules(settings: PipelineSettings) -> list[Rule]:
    low, high = settings.percentiles
    means, deviations = settings.mean, settings.std
    return [
        (settings.scale > 0, "scale must be larger than 0", settings.scale),
        (
            len(means) == len(deviations) == settings.channels and min(deviations, default=1.0) > 0,
            f"mean and std must have {settings.channels} values, std above 0",
            f"{means} and {deviations}",
        ),
        (0 <= low < high <= 100, "percentiles must be two rising numbers from 0 to 100", settings.percentiles),
        (
            settings.clip is None or settings.clip[0] < settings.clip[1],
            "clip must be two rising numbers",
            settings.clip,
        ),
        (
            LEAST_SIGMA <= settings.blend_sigma <= 1,
            f"blend_sigma must be a share of the tile from {LEAST_SIGMA} to 1",
            settings.blend_sigma,
        ),
        (
            settings.restore != "rounded" or not settings.multilabel,
            "restore may be rounded only where an answer has one label per place",
            settings.restore,
        ),
        (
            settings.cleaned_on == "image" or settings.restore in ("labels", "rounded"),
            "cleaned_on may be network only where labels are put back (restore labels or rounded)",
            settings.restore,
        ),
        (0 < settings.threshold < 1, "threshold must be a fraction between 0 and 1", settings.threshold),
    ]


def _answer_rules(settings: PipelineSettings) -> list[Rule]:
    mirrored, painted = settings.mirror, settings.paint
    regions = settings.task == "segmentation" and settings.activation == "sigmoid"
    numbers = settings.task == "regression"
    return [
        (
            numbers == (settings.activation == "identity"),
            "activation must be identity for a regression and for nothing else",
            f"a {settings.task} with {settings.activation}",
        ),
        (
            not numbers or settings.output == "logits",
            "output may be probabilities only where there are classes",
            f"a {settings.task}",
        ),
        (
            len(set(mirrored)) == len(mirrored) and all(0 <= axis < len(settings.tile) for axis in mirrored),
            f"mirror must be different axes of the tile, 0 to {len(settings.tile) - 1}",
            mirrored,
        ),
        (
            not painted or (regions and len(painted) == settings.classes and all(0 < item < 255 for item in painted)),
            "paint must have a label from 1 to 254 per class, for a segmentation with sigmoid",
            painted,
        ),
        (
            len(settings.regions) in (0, len(painted)) and all(set(part) <= set(painted) for part in settings.regions),
            "regions must have for each class some of the labels that are painted",
            settings.regions,
        ),
    ]


def _space_rules(settings: PipelineSettings) -> list[Rule]:
    spacing, volume = settings.spacing_mm, settings.dimensions == 3
    return [
        (
            not settings.sliced or (len(settings.tile) == 2 and settings.task == "segmentation"),
            "sliced must mean a segmentation with a tile of two sizes",
            f"a {settings.task} with {settings.tile}",
        ),
        (
            settings.orientation is None or (volume and grid.is_orientation(settings.orientation)),
            "orientation must be three letters such as RAS, for 3D images",
            repr(settings.orientation),
        ),
        (
            spacing is None or (volume and len(spacing) == len(settings.tile) and min(spacing) > 0),
            "spacing_mm must have one size above 0 per axis of the tile, for 3D images",
            spacing,
        ),
        (
            settings.spacing_grid == "extent" or not settings.sliced,
            "spacing_grid must be extent for stacks",
            settings.spacing_grid,
        ),
        (
            not settings.transposed or (settings.dimensions == 2 and not settings.sliced),
            "transposed may be true only for 2D images",
            f"{settings.dimensions}D",
        ),
        (
            1 <= settings.connectivity <= settings.dimensions,
            "connectivity must be from 1 (faces) to the number of spatial axes (corners)",
            settings.connectivity,
        ),
    ]


def _step_problems(settings: PipelineSettings) -> Iterator[str]:
    """What is wrong with the list of steps, each named by its place and its kind."""
    if not settings.steps:
        return
    defaults = {field.name: field.default for field in fields(PipelineSettings)}
    given = [name for name in FIELDS if getattr(settings, name) != defaults[name]]
    if given:
        yield f"{', '.join(given)} must keep the default where steps are given, which say it in their order"
    for place, step in enumerate(settings.steps):
        for problem in step.problems(len(settings.tile), int(settings.sliced), settings.channels):
            yield f"steps.{place} ({name_of(step)}): {problem}"
    yield from _mask_problems(settings.steps)


def _mask_problems(steps: Sequence[Step]) -> Iterator[str]:
    """Steps that use the foreground where no step before them finds one."""
    found = False
    for place, step in enumerate(steps):
        # A step that another program adds may find one without saying so: then the image decides.
        found |= getattr(step, "makes_mask", not type(step).__module__.startswith("autoopt."))
        if getattr(step, "needs_mask", False) and not found:
            yield (
                f"steps.{place} ({name_of(step)}): where may be mask only after a crop_foreground step, which finds "
                "the mask; use nonzero or all, or crop first"
            )


def _in_graph_problems(settings: PipelineSettings) -> Iterator[str]:
    """Why the graph cannot do what `in_graph` says."""
    makes_floats = {
        "resized": settings.fit == "resize",
        "resampled": settings.spacing_mm is not None,
        "turned": settings.orientation is not None,
        "clipped": settings.clip is not None,
        f"scaled by its own {settings.intensity}": settings.intensity != "fixed",
        "changed by steps": not all(step.keeps_pixels for step in settings.steps),
    }
    done = [word for word, holds in makes_floats.items() if holds]
    if settings.takes_pixels and done:
        yield f"in_graph must be none where an image is {' and '.join(done)} first, got {settings.in_graph}"
    kind = (settings.task, settings.activation, settings.fit)
    if settings.gives_labels and settings.mirror:
        yield f"in_graph may be both only without mirror: labels have no mean, got {short(settings.mirror)}"
    if settings.gives_labels and kind != ("segmentation", "softmax", "tile"):
        yield (
            "in_graph may be both only for a segmentation with softmax and fit tile, "
            f"got a {settings.task} with {settings.activation} and fit {settings.fit}"
        )

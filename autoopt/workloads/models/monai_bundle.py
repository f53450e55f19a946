"""A MONAI bundle as a workload: `--model FOLDER` with configs/inference.json, configs/metadata.json, models/model.pt.

The network, the inferer and the transforms are read from the configuration as plain data; nothing that it names is
run unless it is trusted (`bundle_config`), and its weights are only read. A network with a single output gets a
background class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from autoopt.core.configuration import Scalar
from autoopt.core.parameters import Parameter
from autoopt.core.plain_text import short
from autoopt.errors import WorkloadError
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.steps.axes import Axes
from autoopt.workloads.contract import Workload
from autoopt.workloads.data.dataset import Dataset
from autoopt.workloads.identity import Place
from autoopt.workloads.models.assemble import OPTIONS as COMMON_OPTIONS
from autoopt.workloads.models.assemble import Shape, check_affine, dataset_of, pipeline_of, split_names, workload_of
from autoopt.workloads.models.bundle_chain import TRANSPOSED
from autoopt.workloads.models.bundle_config import (
    HOW_TO_TRUST,
    TARGET,
    Config,
    build_network,
    check_network,
    code_digest,
    find_network,
    read_config,
    shown,
)
from autoopt.workloads.models.bundle_settings import read_settings
from autoopt.workloads.models.bundle_step import Settings

if TYPE_CHECKING:
    import torch

OPTIONS: Mapping[str, Parameter] = {
    **COMMON_OPTIONS,
    "trust": Parameter("flag", False, "run any code that the bundle's configuration names"),
    "ignore": Parameter("text", None, "transforms, or TRANSFORM.ARGUMENT, that may be left out", nullable=True),
}
IMPORTS = ("monai.networks.nets",)
WEIGHTS = ("model.pt", "model.safetensors")
CHANNELS = ("in_channels", "n_input_channels", "img_channels")
CLASSES = ("out_channels", "num_classes")
"""What MONAI's networks call their numbers of input and output channels."""
MOST_WIDTH = 65_536
"""Of channels of an image, and of classes: more are a mistake, and would fill memory before any file is read."""
SMALLEST_STEP = 1e-7
"""By how much a logit must differ for its probability to be another number in float32."""
GEOMETRY = ("orientation", "spacing_mm")
INTENSITY = ("intensity", "scale", "mean", "std")
"""If one of these options is given, nothing that the bundle says of intensities counts."""


def matches(model: str) -> bool:
    """Whether `model` is a folder, as bundles are."""
    return Path(model).is_dir()


def workload(model: str, data: Path, options: Mapping[str, Scalar]) -> Workload:
    """The bundle in the folder on the cases in `data`. Raises WorkloadError or DataError with what does not fit."""
    folder, trusted = Path(model).resolve(), bool(options.get("trust"))
    if options.get("task") == "regression":
        raise WorkloadError(
            f"a MONAI bundle must be a segmentation or a classification, got --task regression for {folder}: give its "
            "network as file.py:function with --weights"
        )
    config = read_config(folder, trusted=trusted)
    channels, classes = _widths(config, _definition(config))
    named = _labels(config, classes)
    if "labels" not in options and named:
        order = options.get("order") or "number"  # the configuration numbers its channels
        options = {**options, "labels": ",".join(named), "order": order}
    dataset = dataset_of(data, options)
    settings = read_settings(
        config,
        channels=channels or dataset.channels,
        classes=len(dataset.labels),
        dimensions=dataset.dimensions,
        dropped=split_names(str(options.get("ignore") or "")),
        task=str(options["task"]),
        pictures=dataset.pictures,
        multilabel=dataset.multilabel,
        own_intensities=not any(name in options for name in INTENSITY),
    )
    dataset = replace(dataset, remarks=(*dataset.remarks, *config.remarks, *settings.remarks))
    if TRANSPOSED in settings.chain:  # sizes as the network sees them
        dataset = replace(dataset, sizes=tuple(size[::-1] for size in dataset.sizes))
    if settings.fields.get("sliced"):
        dataset = _sliced(dataset, settings)
    if dataset.has_affine:  # else it is refused for that
        _check_whole(settings, options, str(config.path))
    threshold = _single_threshold(settings, classes, dataset)
    if threshold is None:
        dataset = _one_of_several(settings, dataset)
    shape = Shape(channels, 2 if threshold is not None else classes, None if "tile" in options else settings.tile)
    pipeline = _pipeline(dataset, shape, settings, options, str(config.path))
    place, told = Place(folder), code_digest(config)
    maker = partial(build, place, trusted, digest=told)
    if threshold is None and pipeline.task == "classification":
        maker = partial(build_flat, place, trusted, digest=told)
    if threshold is not None:
        maker = partial(build_binary, place, trusted, threshold, digest=told)
    return workload_of(dataset, pipeline, options, folder.name, build=maker, weights=_weights(folder))


def build_binary(folder: str, trust: bool, threshold: float, *, digest: str) -> torch.nn.Module:
    """The bundle's network with a background logit beside its single output, larger than it below the threshold."""
    import torch

    net = build_network(folder, trust)
    kind: Any = type(net)
    # MONAI decides by "reaches"; of two equal logits the background would be taken.
    line = math.log(threshold / (1 - threshold)) - SMALLEST_STEP

    class Binary(kind):  # type: ignore[misc]  # a subclass, not a wrapper: weights keep their names
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = super().forward(image)
            return cast("torch.Tensor", _flat(torch.cat([torch.full_like(logits, line), logits], dim=1), image))

    Binary.__name__ = Binary.__qualname__ = kind.__name__
    net.__class__ = Binary
    return net


def build_flat(folder: str, trust: bool, *, digest: str) -> torch.nn.Module:
    """The bundle's network of classes of whole images: scores (n, classes, 1, 1) of one place become (n, classes)."""
    net = build_network(folder, trust)
    kind: Any = type(net)

    class Flat(kind):  # type: ignore[misc]
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return cast("torch.Tensor", _flat(super().forward(image), image))

    Flat.__name__ = Flat.__qualname__ = kind.__name__
    net.__class__ = Flat
    return net


def _flat(scores: Any, image: torch.Tensor) -> Any:
    """Scores without axes of a single place, of an image of several; anything else as it is."""
    single = hasattr(scores, "shape") and set(scores.shape[2:]) == {1} and set(image.shape[2:]) != {1}
    return scores.flatten(1) if single else scores


def build(folder: str, trust: bool, *, digest: str) -> torch.nn.Module:
    """The bundle's network with fresh weights; `digest`, of what builds it, only tells models apart."""
    return build_network(folder, trust)


def _definition(config: Config) -> Mapping[str, Any]:
    """The network's definition as plain data; of a trusted bundle as it is written, without running its expressions."""
    key = find_network(config)
    if config.trusted:
        written = config.content.get(key)
        return written if isinstance(written, Mapping) else {}
    definition = config.plain(key)
    where = f"{config.path}: {shown(key)}"
    if not isinstance(definition, Mapping) or TARGET not in definition:
        raise WorkloadError(f"{where} must have a {TARGET}, it is {str(definition)[:80]}; {HOW_TO_TRUST}")
    check_network(definition, where)
    return definition


def _widths(config: Config, definition: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Input channels and output classes: the network's own arguments, else what the metadata say, else None.

    Raises WorkloadError for widths that nothing has.
    """
    formats = config.metadata.get("network_data_format")
    found = []
    for names, side, name in ((CHANNELS, "inputs", "image"), (CLASSES, "outputs", "pred")):
        said = _inside(formats, side, name, "num_channels")
        values = [*(definition.get(argument) for argument in names), said]
        width = next((value for value in values if isinstance(value, int) and value > 0), None)
        if width is not None and width > MOST_WIDTH:
            raise WorkloadError(
                f"{config.path}: the {side} of the network must have at most {MOST_WIDTH} channels, it says "
                f"{short(width)}: correct it"
            )
        found.append(width)
    return found[0], found[1]


def _labels(config: Config, classes: int | None) -> list[str]:
    """The names of the output channels; a single one is the foreground, and a background is added."""
    channels = _inside(config.metadata, "network_data_format", "outputs", "pred", "channel_def")
    if not isinstance(channels, Mapping) or not all(str(index) in channels for index in range(len(channels))):
        return []
    names = [str(channels[str(index)]).strip().replace(",", " ") for index in range(len(channels))]
    names = ["background", *names] if names and len(names) == 1 else names
    fits = classes is None or len(names) == max(classes, 2)
    return names if fits and len(set(names)) == len(names) else []


def _inside(value: Any, *names: str) -> Any:
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _single_threshold(settings: Settings, classes: int | None, dataset: Dataset) -> float | None:
    """The threshold of a network with a single output on data with a background and one label, else None."""
    if classes != 1 or dataset.multilabel:
        return None
    if settings.fields.get("activation") != "sigmoid":
        raise WorkloadError("a network with one output must be followed by a sigmoid (Activationsd), this one is not")
    threshold = float(settings.fields.pop("threshold", 0.5))
    if settings.fields.get("restore") == "probabilities" and threshold != 0.5:
        raise WorkloadError(
            f"a threshold of {threshold} after probabilities are resampled (Invertd) has no equal here, it must be 0.5"
        )
    settings.fields["activation"] = "softmax"
    return threshold


def _one_of_several(settings: Settings, dataset: Dataset) -> Dataset:
    """The data with a remark where a sigmoid of several classes, of which one is right, is taken for a softmax."""
    fields = settings.fields
    alone = settings.task == "classification" and not dataset.multilabel and "threshold" not in fields
    if not alone or fields.get("activation") != "sigmoid":
        return dataset
    fields["activation"] = "softmax"
    remark = (
        "the bundle ends with a sigmoid of classes of which the data have one per image: the most likely class is the "
        "same, its probability here is that of a softmax"
    )
    return replace(dataset, remarks=(*dataset.remarks, remark))


def _sliced(dataset: Dataset, settings: Settings) -> Dataset:
    """The data as the network sees them that goes through the slices of volumes: two axes, and their sizes."""
    axis = next((step.order[0] for step in settings.chain if isinstance(step, Axes)), 0)
    sizes = {tuple(size for place, size in enumerate(sizes) if place != axis) for sizes in dataset.sizes}
    return replace(dataset, dimensions=2, sizes=tuple(sorted(sizes)))


def _check_whole(settings: Settings, options: Mapping[str, Scalar], source: str) -> None:
    """Raise WorkloadError where a call takes a whole image of which nobody knows how large it is on the new grid."""
    known = "tile" in options or (settings.tile is not None and None not in settings.tile)
    if not known and settings.moved:
        raise WorkloadError(
            f"{source}: the network takes whole images, and their size is not known before they are turned and "
            "resampled or cropped (Orientationd, Spacingd, CropForegroundd): give the size of a call, --option "
            "tile=96x96x96"
        )


def _pipeline(
    dataset: Dataset, shape: Shape, settings: Settings, options: Mapping[str, Scalar], source: str
) -> Pipeline:
    """The pipeline that data, options and bundle come to; an option overrides the bundle."""
    fields = {name: value for name, value in settings.fields.items() if name not in options}
    if "steps" in fields and any(name in options for name in GEOMETRY):
        raise WorkloadError(
            f"{source}: images go through steps in an order of their own, which {' and '.join(GEOMETRY)} cannot "
            "change: leave the option out"
        )
    activation = fields.pop("activation", None)
    options = options if activation is None else {**options, "activation": activation}
    pipeline = pipeline_of(dataset, shape, options, source)
    try:
        pipeline = replace(pipeline, **fields)
    except ValueError as error:
        raise WorkloadError(f"{source}: {error}") from error
    check_affine(pipeline, dataset, source)
    return pipeline


def _weights(folder: Path) -> Path | None:
    return next((folder / "models" / name for name in WEIGHTS if (folder / "models" / name).is_file()), None)

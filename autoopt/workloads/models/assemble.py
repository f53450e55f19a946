"""A workload from somebody's model: its options, a data folder and the shape of the model put together.

What all modules of `loading.MODELS` share. Such a module says what its model takes and answers (`Shape`), and gets the
pipeline and the workload.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from autoopt.core.configuration import Scalar
from autoopt.core.parameters import Parameter
from autoopt.errors import WorkloadError
from autoopt.inference.pipeline import Pipeline
from autoopt.inference.pipeline_settings import ACTIVATIONS, TASKS
from autoopt.workloads.contract import Latency, Recipe, Task, Workload
from autoopt.workloads.data.class_names import Order
from autoopt.workloads.data.dataset import Dataset, read_dataset
from autoopt.workloads.data.statistics import channel_statistics
from autoopt.workloads.data.wishes import OPTIONS as DATA_OPTIONS
from autoopt.workloads.data.wishes import Wishes
from autoopt.workloads.loading import find_function
from autoopt.workloads.own_metrics import OWN_METRICS, OwnMetric, as_metric

OPTIONS: Mapping[str, Parameter] = {
    "task": Parameter("choice", "segmentation", "what the model answers", allowed=TASKS),
    "name": Parameter("text", None, "what the study is called; null: the name of the file", nullable=True),
    "labels": Parameter("text", None, "names of the classes in order, such as background,tumour", nullable=True),
    "order": Parameter(
        "choice",
        None,
        "order of classes called by numbers: text (0, 1, 10, 2) or number; null: refused where they differ",
        allowed=("text", "number"),
        nullable=True,
    ),
    "tile": Parameter("text", None, "size of one network call, such as 224x224, of time series 512", nullable=True),
    "overlap": Parameter("number", 0.25, "share that neighbouring tiles have in common", low=0.0, high=0.9),
    "scale": Parameter(
        "number",
        None,
        "what images are divided by; null: 255 for 8-bit pictures, 65535 for 16 bits, 1 else",
        nullable=True,
    ),
    "mean": Parameter(
        "text", "0", "subtracted after the scale: a number, one per channel, or train: that of its cases"
    ),
    "std": Parameter("text", "1", "divided by after the mean: a number, one per channel, or train: that of its cases"),
    "intensity": Parameter(
        "choice",
        "fixed",
        "percentile and zscore normalise each image by itself",
        allowed=("fixed", "percentile", "zscore"),
    ),
    "fit": Parameter(
        "choice",
        None,
        "how images become calls; null: tile for a segmentation, else resize",
        allowed=("tile", "resize", "center"),
        nullable=True,
    ),
    "orientation": Parameter("text", None, "three letters such as RAS: how 3D images are turned", nullable=True),
    "spacing_mm": Parameter("text", None, "voxel size that the network sees, such as 1x1x1", nullable=True),
    "activation": Parameter(
        "choice",
        None,
        "sigmoid: any number of labels per place (multilabel); null: by the data, identity of a regression",
        allowed=ACTIVATIONS,
        nullable=True,
    ),
    "metrics": Parameter("text", None, "comma-separated, the primary one first", nullable=True),
    OWN_METRICS: Parameter(
        "text",
        None,
        "functions of yours that score a case, such as my.py:hits,my.py:misses; primary before those of the task",
        nullable=True,
    ),
    "latency": Parameter("choice", "call", "what is timed: a network call or a whole case", allowed=("call", "case")),
    **DATA_OPTIONS,
}
"""The options that every kind of model has."""
OUTPUT = Parameter(
    "choice",
    None,
    "what the model answers with; null: as its last operation says, which is logits where none does",
    allowed=("logits", "probabilities", "labels"),
    nullable=True,
)
"""The option of the kinds of models that may answer with other things than logits."""
OF_TRAIN = "train"
"""In the place of a mean or a standard deviation: that of each channel over the cases of train."""
BINARY = 2
"""Classes of which a model may answer one alone: the other is what is left."""
METRICS: Mapping[str, tuple[str, ...]] = {
    "segmentation": ("dice_foreground", "iou_foreground"),
    "classification": ("accuracy", "macro_f1", "auroc", "mcc", "ece"),
    "regression": ("mae", "rmse", "spearman", "r2"),
}
RECIPE = Recipe(epochs=10, batch=4, learning_rate=1e-3, weight_decay=1e-2)
"""For a model that is trained here after all. No augmentation: which changes leave a label valid is not known."""


@dataclass(frozen=True)
class Shape:
    """What a model says of its input and output: channels, classes, sizes of a call; None where it does not say.

    `labels` are the names of its answers, in order; empty where it does not say them.
    `output` is what it answers with, as in a `Pipeline`. `remark` is what users should be told of that, a sentence.
    """

    channels: int | None = None
    classes: int | None = None
    tile: tuple[int | None, ...] | None = None
    labels: tuple[str, ...] = ()
    output: str = "logits"
    remark: str | None = None


def task_of(options: Mapping[str, Scalar]) -> Task:
    """The task of the options. Raises WorkloadError when it is not given."""
    if "task" not in options:
        raise WorkloadError(f"a model needs --task {', '.join(TASKS[:-1])} or {TASKS[-1]}")
    return cast(Task, options["task"])


def dataset_of(data: Path, options: Mapping[str, Scalar], said: tuple[str, ...] = ()) -> Dataset:
    """The data folder, read for the task and the labels of the options, else the names that the model says (`said`).

    Raises WorkloadError or DataError.
    """
    labels = options.get("labels")
    names = None if labels is None else split_names(str(labels))
    order = cast("Order | None", options.get("order"))
    return read_dataset(data, task_of(options), names, order=order, said=said, wishes=Wishes.of(options))


def pipeline_of(dataset: Dataset, shape: Shape, options: Mapping[str, Scalar], source: str) -> Pipeline:
    """The pipeline that options, model and data agree on. Raises WorkloadError with everything they do not agree on."""
    task = cast(Task, options["task"])
    channels = shape.channels or dataset.channels
    usual = "identity" if task == "regression" else "sigmoid" if dataset.multilabel else "softmax"
    activation = str(options.get("activation") or usual)
    problems = []
    if channels != dataset.channels:
        repeat = f": --option channels={channels} gives it the grey channel {channels} times"
        problems.append(
            f"{source} takes {channels} channel(s), the images have {dataset.channels}"
            + (repeat if dataset.channels == 1 else "")
        )
    one_of_two = shape.classes == 1 and len(dataset.labels) == BINARY and activation == "softmax"
    if shape.classes is not None and shape.classes != len(dataset.labels) and not one_of_two:
        problems.append(
            f"{source} answers {shape.classes} classes, the data have {len(dataset.labels)}: "
            f"{', '.join(dataset.labels)}; name all of them with --option labels=A,B"
        )
    if dataset.multilabel != (activation == "sigmoid"):
        which = "any number of labels" if dataset.multilabel else "one label"
        problems.append(f"the data have {which} per place, --option activation={activation} does not fit them")
    try:
        tile = _tile(dataset, shape, options, source)
    except WorkloadError as error:
        raise WorkloadError(*problems, *error.problems) from error
    if problems:
        raise WorkloadError(*problems)
    spacing = options.get("spacing_mm")
    scale = float(cast(float, options.get("scale") or dataset.value_range))
    normalisation = _normalisation(dataset, scale, options)
    try:
        pipeline = Pipeline(
            task=task,
            classes=len(dataset.labels),
            channels=channels,
            tile=tile,
            overlap=float(cast(float, options.get("overlap", 0.25))),
            scale=scale,
            mean=_numbers(normalisation["mean"], channels, "mean"),
            std=_numbers(normalisation["std"], channels, "std"),
            intensity=cast(Any, options.get("intensity", "fixed")),
            fit=cast(Any, options.get("fit") or ("tile" if task == "segmentation" else "resize")),
            orientation=cast("str | None", options.get("orientation")),
            spacing_mm=None if spacing is None else tuple(float(item) for item in str(spacing).split("x")),
            activation=cast(Any, activation),
            output=cast(Any, shape.output),
        )
    except ValueError as error:
        raise WorkloadError(f"the options of {source} do not work: {error}") from error
    check_affine(pipeline, dataset, source)
    return pipeline


def check_affine(pipeline: Pipeline, dataset: Dataset, source: str) -> None:
    """Raise WorkloadError when the pipeline turns or resamples images and some of them have no affine."""
    if pipeline.needs_affine and not dataset.has_affine:
        raise WorkloadError(
            f"{source} turns or resamples images (orientation, spacing_mm), which needs images with an affine, such as "
            "NIfTI; some of the data have none"
        )


def workload_of(
    dataset: Dataset, pipeline: Pipeline, options: Mapping[str, Scalar], name: str, **model: Any
) -> Workload:
    """The workload of a model on a data folder; `model` has the fields `build`, or `graph`, and `weights`."""
    task = cast(Task, options["task"])
    metrics = options.get("metrics")
    own = _own_metrics(str(options.get(OWN_METRICS) or ""))
    return Workload(
        name=str(options.get("name") or name),
        task=task,
        labels=dataset.labels,
        pipeline=pipeline,
        splits=dataset.splits,
        metrics=(*(item.name for item in own), *METRICS[task]) if metrics is None else tuple(split_names(str(metrics))),
        own_metrics=own,
        recipe=RECIPE,
        data_digest=dataset.digest,
        latency=cast(Latency, options.get("latency", "call")),
        remarks=dataset.remarks,
        reading=dataset.reading,
        **model,
    )


def _own_metrics(text: str) -> tuple[OwnMetric, ...]:
    """The metrics that the sources of an option name. Raises WorkloadError for one that cannot be imported."""
    wrong = [source for source in split_names(text) if ":" not in source]
    if wrong:
        raise WorkloadError(f"--option {OWN_METRICS} must name functions as file.py:function, got {', '.join(wrong)}")
    found = []
    for source in split_names(text):
        function, whole = find_function(source)
        found.append(as_metric(function, whole.rpartition(":")[2]))
    return tuple(found)


def split_names(text: str) -> tuple[str, ...]:
    """The comma-separated parts of a text."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _tile(dataset: Dataset, shape: Shape, options: Mapping[str, Scalar], source: str) -> tuple[int, ...]:
    """The size of a network call: that of the option, else of the model, else the one size that all images have."""
    known = shape.tile or (None,) * dataset.dimensions
    if len(known) != dataset.dimensions:
        stored = ": store time series as `series`, (n, channels, time), in a .npz file" if len(known) == 1 else ""
        raise WorkloadError(f"{source} takes {len(known)}D images, the data are {dataset.dimensions}D{stored}")
    asked = options.get("tile")
    if asked is not None:
        if not all(size.isdigit() and int(size) > 0 for size in str(asked).split("x")):
            raise WorkloadError(f"--option tile must be sizes such as 224x224, got {asked!r}")
        tile = tuple(int(size) for size in str(asked).split("x"))
        if len(tile) != len(known) or any(have not in (None, want) for have, want in zip(known, tile, strict=True)):
            fixed = "x".join("any" if size is None else str(size) for size in known)
            raise WorkloadError(f"--option tile={asked} does not fit {source}, which takes {fixed}")
        return tile
    if None not in known:
        return tuple(int(cast(int, size)) for size in known)
    if len(dataset.sizes) == 1:
        return tuple(have or size for have, size in zip(known, dataset.sizes[0], strict=True))
    sizes = ", ".join("x".join(map(str, size)) for size in dataset.sizes)
    raise WorkloadError(
        f"{source} takes images of any size and the data have several ({sizes}): give --option tile=HxW"
    )


def _normalisation(dataset: Dataset, scale: float, options: Mapping[str, Scalar]) -> dict[str, str]:
    """The texts of `mean` and `std`, with the numbers of the cases of train where they ask for them."""
    texts = {name: str(options.get(name, usual)) for name, usual in (("mean", "0"), ("std", "1"))}
    if OF_TRAIN in texts.values():
        found = channel_statistics(dataset.splits.train, scale)
        numbers = {name: ",".join(map(repr, values)) for name, values in zip(texts, found, strict=True)}
        texts = {name: numbers[name] if text == OF_TRAIN else text for name, text in texts.items()}
    return texts


def _numbers(text: str, count: int, name: str) -> tuple[float, ...]:
    values = tuple(float(part) for part in split_names(text))
    if len(values) not in (1, count):
        raise ValueError(f"{name} must be one number or {count}, got {text!r}")
    return values if len(values) == count else values * count

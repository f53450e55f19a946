"""What is optimised, as values: a workload with its cases, splits and training recipe.

A workload is plain data and a few functions. It is loaded again, from its `origin`, in every child process that needs
the model or the cases (`loading.py`); nothing of it is pickled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from autoopt.core.configuration import Scalar
from autoopt.errors import WorkloadError
from autoopt.inference.pipeline import Pipeline
from autoopt.workloads.data.reading import Reading
from autoopt.workloads.identity import code_identity
from autoopt.workloads.own_metrics import OwnMetric

if TYPE_CHECKING:
    import torch

Task = Literal["segmentation", "classification", "regression"]
Latency = Literal["call", "tile", "case"]
"""What is timed: one network call, an image of one tile from pixels to answer, or a whole case. `tile` is for studies
whose space moves work between the pipeline and the graph (`Space.timed`)."""
SplitName = Literal["train", "calibration", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "calibration", "val", "test")

IGNORED = 255
"""A voxel whose reference has this value is neither trained on nor scored: nobody labelled it."""


@dataclass(frozen=True)
class Sample:
    """One image with its reference.

    `image`: (*spatial, channels), any real dtype. `reference`: of a segmentation an integer label map, (*spatial),
    `IGNORED` where it is unknown; of a classification one integer, shape (). In a multilabel task, whose pipeline
    decides by sigmoid, it is 0 or 1 for each label: (*spatial, labels) or (labels,). Of a regression it is one real
    number for each label, such as an age in years, (labels,). `affine`: (4, 4), voxel index to RAS+ millimetres as in
    NIfTI, or None for images that have none.
    """

    image: np.ndarray
    reference: np.ndarray
    affine: np.ndarray | None = None


@dataclass(frozen=True)
class Case:
    """One patient image, tile or volume, read only when asked for.

    `group` is the patient: all cases of a group must be in one split. `tags` are further columns of the manifest, such
    as the scanner; a limit can hold for each subgroup. `read` raises BadData or DataError naming the file.
    """

    id: str
    group: str
    read: Callable[[], Sample]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Splits:
    """Four disjoint sets of cases: compression sees train and calibration, a search val, and only its front test."""

    train: tuple[Case, ...]
    calibration: tuple[Case, ...]
    val: tuple[Case, ...]
    test: tuple[Case, ...]

    def __getitem__(self, name: SplitName) -> tuple[Case, ...]:
        cases: tuple[Case, ...] = getattr(self, name)
        return cases


@dataclass(frozen=True)
class Recipe:
    """How `autoopt train` trains the baseline; stored networks depend on it (`identity`).

    `augment(sample, random)` makes another training sample; it is given a float32 image on the grid that
    `Pipeline.standardise` gives (one slice of a stack). `repeats` is how many samples of every case an epoch has.
    `tile` is the size of the training windows, by default that of the pipeline. With `coarse` the first epochs run at
    a reduced resolution. Raises WorkloadError for `max_seconds`, which recipes had once.
    """

    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float = 1e-4
    max_seconds: InitVar[float | None] = None
    augment: Callable[[Sample, np.random.Generator], Sample] | None = None
    repeats: int = 1
    tile: tuple[int, ...] | None = None
    coarse: bool = True

    def __post_init__(self, max_seconds: float | None) -> None:
        if max_seconds is not None:
            raise WorkloadError(
                f"autoopt.Recipe must not have max_seconds any more, got {max_seconds!r}: take it out. A training is "
                "done to the end of its epochs, however busy the host is; `autoopt train --time`, or max_seconds of "
                "autoopt.train, ends one earlier"
            )

    def identity(self) -> dict[str, Any]:
        """The settings as plain data; two recipes with one identity train the same.

        Of an augmentation it has the plain name, or for a function of the user its name and the digest of its file.
        """
        return {
            "epochs": self.epochs,
            "batch": self.batch,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "augment": None if self.augment is None else code_identity(self.augment),
            "repeats": self.repeats,
            "tile": None if self.tile is None else list(self.tile),
            "coarse": self.coarse,
        }


@dataclass(frozen=True)
class Origin:
    """The arguments that `load_workload` was called with: enough to load the same workload in another process.

    `weights_key` is the entry of a file of weights that is meant, where it has several that fit.
    """

    source: str
    data: str | None
    home: str
    options: Mapping[str, Scalar] = field(default_factory=dict)
    weights_key: str | None = None


@dataclass(frozen=True)
class WeightPart:
    """Where the weights of one module of a network lie: a file, or the `entry` of a zip file.

    `module` is its name, "" for the whole network. `otherwise` is what to say where they do not fit, a clause.
    """

    module: str
    path: Path
    entry: str = ""
    otherwise: str = ""


@dataclass(frozen=True)
class Workload:
    """A model, its cases in four splits, its inference pipeline, its metrics and its training recipe.

    `build` returns the model with fresh weights, which takes and gives float32 tensors of the shapes in `pipeline`. It
    is None where `graph` is a finished ONNX file, which no step can prune or train; `graph_output` is the name of the
    output that is meant, where it has several. `metrics` are names of `autoopt.measure.metrics.METRICS` and of
    `own_metrics`, the user's own functions, the primary one first. `data_digest` is any text that changes with the
    cases. `demo` says that the cases are synthetic. `latency` says what is timed: "call", or "case" for whole cases.
    `remarks` are sentences for the user on what was understood without being asked. `reading` says how images are read
    from files, so that `autoopt predict` does the same; None where that is not known, as with readers of the user's
    own. `weight_parts` say where the weights are that `weights` stands for, if that is not one file of the whole
    network. `space` is the shipped space that is searched unless another is asked for; None: the default.
    """

    name: str
    task: Task
    labels: tuple[str, ...]
    build: Callable[[], torch.nn.Module] | None
    pipeline: Pipeline
    splits: Splits
    metrics: tuple[str, ...]
    recipe: Recipe
    data_digest: str
    demo: bool = False
    weights: Path | None = None
    origin: Origin | None = None
    latency: Latency = "call"
    graph: Path | None = None
    graph_output: str | None = None
    remarks: tuple[str, ...] = ()
    reading: Reading | None = None
    weight_parts: tuple[WeightPart, ...] = ()
    space: str | None = None
    own_metrics: tuple[OwnMetric, ...] = ()

    @property
    def title(self) -> str:
        """The name that users see: demo data is always called so."""
        return f"{self.name} (demo data)" if self.demo else self.name

    @property
    def weights_key(self) -> str | None:
        """The entry of a file of weights that is meant; None where the one that fits is."""
        return None if self.origin is None else self.origin.weights_key

"""What is optimised: the Workload contract (axis 1) and how to load one by name, file or module.

A workload is plain data and a few functions. It is loaded again, from its `origin`, in every child
process that needs the model or the cases; nothing of it is pickled.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from autoopt.core.configuration import Scalar, digest
from autoopt.core.parameters import Parameter
from autoopt.core.tables import Table
from autoopt.errors import UsageError, WorkloadError
from autoopt.inference.pipeline import Pipeline

if TYPE_CHECKING:
    import torch

Task = Literal["segmentation", "classification"]
Latency = Literal["call", "tile", "case"]
"""What is timed: a network call, an image of one tile from pixels to answer, a whole case. `tile` is for studies whose
space moves work between the pipeline and the graph (`Space.timed`)."""
SplitName = Literal["train", "calibration", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "calibration", "val", "test")

BUILT_IN = Table(
    "workload",
    {
        "histo": "autoopt.workloads.histo",
        "brain": "autoopt.workloads.brain",
        "cardiac": "autoopt.workloads.cardiac",
        "dfu": "autoopt.workloads.dfu",
    },
)
"""Name to module. Such a module has `SUMMARY`, `OPTIONS` (name to Parameter), `workload(data: Path, **options)`,
`write_demo(folder: Path)`, `demo_options()` (those of the shipped baseline) and `DEMO_WEIGHTS: Path`."""

MODELS = Table(
    "kind of model",
    {
        "onnx": "autoopt.workloads.models.onnx_file",
        "bundle": "autoopt.workloads.models.monai_bundle",
        "checkpoint": "autoopt.workloads.models.checkpoint",
    },
)
"""Kinds of models that someone brings, asked in this order. Such a module has `matches(model: str)`, `OPTIONS` and
`workload(model: str, data: Path, options)`."""
MODEL = "model:"
"""What the source of a workload begins with when it is somebody's model."""

IGNORED = 255
"""A voxel of a reference with this value is neither trained on nor scored."""


@dataclass(frozen=True)
class Sample:
    """One image with its reference.

    `image` is channels-last, any real dtype: (*spatial, channels). `reference` is an integer label
    map of shape spatial, `IGNORED` where nobody knows (segmentation), or a 0-d integer array (classification); where
    a pipeline decides by sigmoid, 0 or 1 for each label: (*spatial, labels) or (labels,). `affine` is (4, 4), voxel
    index to RAS+ millimetres as in NIfTI, for images that have one.
    """

    image: np.ndarray
    reference: np.ndarray
    affine: np.ndarray | None = None


@dataclass(frozen=True)
class Case:
    """One patient image, tile or volume, read when asked for.

    `group` is what must never be split between two splits (the patient); `tags` are manifest
    columns for subgroups, such as class or scanner. `read` raises BadData or DataError naming the file.
    """

    id: str
    group: str
    read: Callable[[], Sample]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Splits:
    """Four disjoint sets of cases. Compression sees train and calibration, search val, the front test."""

    train: tuple[Case, ...]
    calibration: tuple[Case, ...]
    val: tuple[Case, ...]
    test: tuple[Case, ...]

    def __getitem__(self, name: SplitName) -> tuple[Case, ...]:
        cases: tuple[Case, ...] = getattr(self, name)
        return cases


@dataclass(frozen=True)
class Recipe:
    """How `autoopt train` makes the baseline; part of its identity.

    `augment` turns a training sample, its image float32 on the grid that `Pipeline.standardise` gives (of a stack
    one slice), into another with the random generator it is given. `repeats` samples are drawn of every case in
    an epoch; `tile` is the size of the training windows, that of the pipeline by default; `coarse` lets the first
    epochs run at a reduced resolution. `max_seconds` ends the training early, with the best weights so far.
    """

    epochs: int
    batch: int
    learning_rate: float
    weight_decay: float = 1e-4
    max_seconds: float = 900.0
    augment: Callable[[Sample, np.random.Generator], Sample] | None = None
    repeats: int = 1
    tile: tuple[int, ...] | None = None
    coarse: bool = True

    def identity(self) -> dict[str, Any]:
        """The plain numbers and the name of the augmentation."""
        name = None if self.augment is None else f"{self.augment.__module__}.{self.augment.__qualname__}"
        return {
            "epochs": self.epochs,
            "batch": self.batch,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "augment": name,
            "repeats": self.repeats,
            "tile": None if self.tile is None else list(self.tile),
            "coarse": self.coarse,
        }


@dataclass(frozen=True)
class Workload:
    """A model, its cases in four splits, its inference pipeline, its metrics and its training recipe.

    `build` returns the model with fresh weights, taking and giving float32 tensors of the shapes in
    `pipeline`; it is None where `graph` is a finished ONNX file, which no step can prune or train. `metrics` are names
    of `autoopt.measure.metrics.METRICS`; the first is the primary one. `latency` says what is timed: one network
    "call", or a whole "case" through the pipeline. `data_digest` identifies the cases, `demo` says that they are
    synthetic.
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

    @property
    def title(self) -> str:
        """The name as users see it: demo data is always called so."""
        return f"{self.name} (demo data)" if self.demo else self.name


@dataclass(frozen=True)
class Origin:
    """What `load_workload` was called with: enough to load the same workload in another process."""

    source: str
    data: str | None
    home: str
    options: Mapping[str, Scalar] = field(default_factory=dict)

    def load(self) -> Workload:
        """The workload, loaded again."""
        data = None if self.data is None else Path(self.data)
        return load_workload(self.source, data, Path(self.home), self.options)


def load_workload(source: str, data: Path | None, home: Path, options: Mapping[str, Scalar] | None = None) -> Workload:
    """The workload called `source`, on the cases in `data` or, without `data`, on its demo data.

    `source` is a built-in name, `file.py:function` or `package.module:function`, where such a function takes the
    data folder (a Path, or None) and returns a Workload; or "model:" and an ONNX file, a MONAI bundle or a
    builder. `options` are the workload's own; texts are read as its `OPTIONS` say. Demo data is made
    below `home` on first use. Raises WorkloadError or DataError.
    """
    options = dict(options or {})
    if source in BUILT_IN:
        module = BUILT_IN.load(source)
        chosen = read_options(source, module.OPTIONS, options)
        if data is not None:
            workload: Workload = module.workload(data, **chosen)
        else:
            folder = home / "demo" / source
            module.write_demo(folder)
            shipped = dict(module.demo_options())
            workload = replace(module.workload(folder, **{**shipped, **chosen}), demo=True)
            if {**shipped, **chosen} == shipped:  # another net has other weights
                workload = replace(workload, weights=module.DEMO_WEIGHTS)
        resolved = source
    elif source.startswith(MODEL):
        resolved, workload = _load_model(source.removeprefix(MODEL), data, options)
    elif ":" in source:
        function, resolved = find_function(source)
        try:
            workload = _called(function, data, options)
        except UsageError:
            raise
        except Exception as error:  # the user's own code: name it, keep its traceback as the cause
            raise WorkloadError(f"{source} failed with {type(error).__name__}: {error}") from error
        if not isinstance(workload, Workload):
            raise WorkloadError(f"{source} must return an autoopt.Workload, it returned {type(workload).__name__}")
    else:
        raise WorkloadError(
            f"no workload is called {source!r}: use one of {', '.join(sorted(BUILT_IN))}, "
            "or your own as file.py:function or package.module:function"
        )
    check_workload(workload)
    origin = Origin(resolved, None if data is None else str(data.resolve()), str(home.resolve()), options)
    return replace(workload, origin=origin)


def read_options(source: str, known: Mapping[str, Parameter], given: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The given options with texts read as what `known` says. Raises WorkloadError with all that is wrong."""
    problems, chosen = [], {}
    for name, value in given.items():
        if name not in known:
            allowed = ", ".join(known) or "none"
            problems.append(f"{source} has no option {name!r}, its options are: {allowed}")
            continue
        try:
            chosen[name] = known[name].read(value)
        except ValueError as error:
            problems.append(f"option {name} of {source} {error}")
    if problems:
        raise WorkloadError(*problems)
    return chosen


def _load_model(model: str, data: Path | None, options: Mapping[str, Scalar]) -> tuple[str, Workload]:
    if data is None:
        raise WorkloadError(f"the model {model} needs cases: give --data DIR")
    for kind in MODELS:
        module = MODELS.load(kind)
        if module.matches(model):
            where, colon, function = model.rpartition(":")
            path = Path(where) if colon else Path(model)
            resolved = f"{path.resolve()}{colon}{function if colon else ''}" if path.exists() else model
            return f"{MODEL}{resolved}", module.workload(resolved, data, read_options(model, module.OPTIONS, options))
    raise WorkloadError(
        f"the model must be an ONNX file, the folder of a MONAI bundle, or file.py:function that builds a network; "
        f"{model} is {'none of them' if Path(model).exists() else 'not there'}"
    )


def _called(function: Callable[..., Any], data: Path | None, options: Mapping[str, Scalar]) -> Any:
    """What a user's function returns, called with what it takes."""
    parameters = inspect.signature(function).parameters.values()
    takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters)
    named = {parameter.name for parameter in parameters}
    unknown = [name for name in options if name not in named and not takes_all]
    if unknown:
        raise WorkloadError(f"{function.__name__} must take the option(s) {', '.join(unknown)} as arguments")
    positional = [parameter for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
    return function(data, **options) if positional else function(**options)


def check_workload(workload: Workload) -> None:
    """Raise WorkloadError with everything that is wrong with the workload's cases and labels."""
    problems = []
    seen_ids: dict[str, SplitName] = {}
    seen_groups: dict[str, SplitName] = {}
    leaks: set[tuple[str, SplitName]] = set()
    for split in SPLITS:
        cases = workload.splits[split]
        if not cases:
            problems.append(f"{workload.name}: the split {split!r} has no cases; every split needs at least one")
        for case in cases:
            if case.id in seen_ids:
                problems.append(f"{workload.name}: case {case.id!r} is in {seen_ids[case.id]} and again in {split}")
            seen_ids[case.id] = split
            other = seen_groups.setdefault(case.group, split)
            # Train and calibration are both training data: a patient in both leaks nothing.
            leak = other != split and {other, split} != {"train", "calibration"}
            if leak and (case.group, split) not in leaks:
                leaks.add((case.group, split))
                text = f"group {case.group!r} is in {other} and in {split}: patients must not leak"
                problems.append(f"{workload.name}: {text}")
    if len(workload.labels) < 2:
        problems.append(f"{workload.name}: at least two labels are needed, got {list(workload.labels)}")
    if (workload.build is None) == (workload.graph is None):
        problems.append(f"{workload.name}: either `build` or `graph` must say what the model is, and not both")
    if workload.pipeline.classes != len(workload.labels):
        problems.append(
            f"{workload.name}: the pipeline has {workload.pipeline.classes} classes, the labels are "
            f"{', '.join(workload.labels)}"
        )
    if workload.latency == "tile" or workload.pipeline.takes_pixels:
        problems.append(
            f"{workload.name}: latency must be call or case and in_graph of the pipeline none: a space offers the rest"
        )
    if not workload.metrics:
        problems.append(f"{workload.name}: at least one metric is needed, the first one is the primary")
    if problems:
        raise WorkloadError(*_first(problems, 20))


def split_by_group(
    cases: Sequence[tuple[str, str]], fractions: Mapping[SplitName, float], seed: int = 0
) -> dict[str, SplitName]:
    """A split for every (id, group): groups in a seeded order fill each split to its fraction of the cases.

    Whole groups only. Every split gets at least one group when there are as many groups as splits.
    """
    sizes: dict[str, int] = {}
    for _, group in cases:
        sizes[group] = sizes.get(group, 0) + 1
    order = sorted(sizes)
    np.random.default_rng(seed).shuffle(order)
    names = list(fractions)
    chosen: dict[str, SplitName] = {}
    position, filled = 0, 0
    for index, group in enumerate(order):
        chosen[group] = names[position]
        filled += sizes[group]
        groups_left, splits_left = len(order) - index - 1, len(names) - position - 1
        reached = filled >= fractions[names[position]] * len(cases) - 1e-9  # 0.1 * 30 is more than 3
        if splits_left and (reached or groups_left <= splits_left):
            position, filled = position + 1, 0
    return {case: chosen[group] for case, group in cases}


def find_function(source: str) -> tuple[Callable[..., Any], str]:
    """The function that `file.py:function` or `package.module:function` names, and the source resolved."""
    where, _, name = source.rpartition(":")
    try:
        if where.endswith(".py"):
            path = Path(where).resolve()
            if not path.is_file():
                raise WorkloadError(f"the workload file {where} does not exist")
            module = _import_file(path)
            where = str(path)
        else:
            module = importlib.import_module(where)
    except UsageError:
        raise
    except Exception as error:  # the user's own code: name it, keep its traceback as the cause
        raise WorkloadError(f"{where} cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise WorkloadError(f"{where} has no function {name!r}")
    return function, f"{where}:{name}"


def _import_file(path: Path) -> ModuleType:
    name = f"autoopt_user_{path.stem}_{digest(str(path))[:8]}"
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # so that it can import the files beside it
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _first(problems: list[str], limit: int) -> list[str]:
    more = len(problems) - limit
    return problems if more <= 0 else [*problems[:limit], f"... and {more} more"]

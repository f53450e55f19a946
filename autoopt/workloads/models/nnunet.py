"""A model that nnU-Net v2 trained as a workload: `--model FOLDER`, or the zip file of its export.

The network, its preprocessing and its predictor are those of plans.json, dataset.json and the checkpoints of the folds,
which are only read; nnU-Net itself is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from autoopt.core.configuration import Scalar
from autoopt.core.parameters import Parameter
from autoopt.errors import WorkloadError
from autoopt.inference.pipeline import Pipeline
from autoopt.workloads.contract import WeightPart, Workload
from autoopt.workloads.data.cases import Found
from autoopt.workloads.data.dataset import Dataset, read_dataset
from autoopt.workloads.data.layouts.nnunet import is_training_case
from autoopt.workloads.data.seen_cases import find_splits, without_seen
from autoopt.workloads.data.wishes import OPTIONS as DATA_OPTIONS
from autoopt.workloads.data.wishes import Wishes
from autoopt.workloads.models.assemble import OPTIONS as COMMON_OPTIONS
from autoopt.workloads.models.assemble import check_affine, workload_of
from autoopt.workloads.models.nnunet_folder import CHECKPOINTS, Trained, find_models, read_trained
from autoopt.workloads.models.nnunet_pipeline import dimensions_of, pipeline_of_plans
from autoopt.workloads.networks.nnunet import build_folds, build_nnunet

OPTIONS: Mapping[str, Parameter] = {
    "task": Parameter("choice", "segmentation", "what the model answers", allowed=("segmentation",)),
    "name": COMMON_OPTIONS["name"],
    "metrics": COMMON_OPTIONS["metrics"],
    "latency": Parameter("choice", "case", "what is timed: a network call or a whole case", allowed=("call", "case")),
    "configuration": Parameter(
        "text", None, "which model of a folder with several, such as 3d_fullres; null: the only one", nullable=True
    ),
    "folds": Parameter(
        "text", None, "folds that answer together, such as 0,1 or all; null: those there", nullable=True
    ),
    "checkpoint": Parameter("choice", "final", "which checkpoint of a fold", allowed=tuple(CHECKPOINTS)),
    "volumes": DATA_OPTIONS["volumes"],
    "nan": DATA_OPTIONS["nan"],
    "splits": Parameter(
        "text", None, "the splits_final.json of the training; null: looked for by the data", nullable=True
    ),
    "mirror": Parameter(
        "choice", "trained", "axes that are mirrored: as in training, or none", allowed=("trained", "none")
    ),
    "step": Parameter("number", 0.5, "distance of neighbouring tiles as a share of their size", low=0.1, high=1.0),
}
TRAINERS = ("nnUNetTrainer", "nnUNet_Trainer")
"""What the names of nnU-Net's own trainers begin with."""


def matches(model: str) -> bool:
    """Whether `model` is a folder or zip file with plans.json, dataset.json and fold_*, in it or in folders below."""
    path = Path(model)
    return (path.is_dir() or path.suffix.lower() == ".zip") and bool(find_models(path))


def workload(model: str, data: Path, options: Mapping[str, Scalar]) -> Workload:
    """The trained model on the cases in `data`, of which val and test are such that its folds have not seen.

    Raises WorkloadError, WeightsError or DataError with what does not fit.
    """
    chosen: dict[str, Any] = {name: item.default for name, item in OPTIONS.items()} | dict(options)
    trained = read_trained(Path(model), chosen["configuration"], chosen["folds"], chosen["checkpoint"])
    pipeline = pipeline_of_plans(trained, trained.mirrored if chosen["mirror"] == "trained" else (), chosen["step"])
    dataset = _dataset(data, trained, chosen["splits"], Wishes.of(chosen))
    _check(dataset, trained, pipeline, model)
    shape, channels, outputs = trained.plans.shape, pipeline.channels, trained.dataset.outputs
    build = partial(build_nnunet, shape, channels, outputs)
    if len(trained.folds) > 1:
        build = partial(build_folds, shape, channels, outputs, len(trained.folds))
    parts = tuple(_part(trained, index) for index in range(len(trained.folds)))
    name = Path(model).resolve().name.removesuffix(".zip")
    made = workload_of(
        dataset, pipeline, chosen, name, build=build, weights=parts[0].path, weight_parts=parts, space="nnunet"
    )
    return _with_remarks(made, trained, pipeline)


def _dataset(data: Path, trained: Trained, splits: str | None, wishes: Wishes) -> Dataset:
    """The cases, of which those in val and test are unseen; in other layouts than nnU-Net's that is the user's word."""
    remark, labels = [], trained.dataset.labels

    def adapt(found: Found) -> Found:
        if found.map_labels not in ((), labels):
            raise WorkloadError(
                f"{data} must have the labels of {trained.place}, {', '.join(labels)}, its dataset.json says "
                f"{', '.join(found.map_labels)}"
            )
        found = replace(found, regions=trained.dataset.regions)
        training = [item for item in found.items if is_training_case(data, item)]
        if training:
            return without_seen(found, data, trained.folds, find_splits(data, splits), training)
        remark.append(
            f"{data} is not the raw data of nnU-Net (imagesTr/, labelsTr/): whether the model was trained on cases of "
            "val and test is not known"
        )
        if splits is not None:
            raise WorkloadError(
                f"--option splits is for the raw data of nnU-Net (imagesTr/, labelsTr/), {data} is other"
            )
        return found

    dataset = read_dataset(data, "segmentation", labels, adapt=adapt, wishes=wishes)
    return replace(dataset, remarks=(*dataset.remarks, *remark))


def _check(dataset: Dataset, trained: Trained, pipeline: Pipeline, source: str) -> None:
    """Raise WorkloadError with everything on which model and data do not agree."""
    plans, problems = trained.plans, []
    if dataset.channels != pipeline.channels:
        names = ", ".join(trained.dataset.channels)
        problems.append(f"{source} takes {pipeline.channels} channel(s) ({names}), the images have {dataset.channels}")
    if dataset.dimensions != dimensions_of(plans):
        problems.append(
            f"{source} was trained on {dimensions_of(plans)}D images (read by {plans.reader}), the data are "
            f"{dataset.dimensions}D"
        )
    if len(dataset.labels) != trained.dataset.outputs:
        problems.append(
            f"{source} answers with {trained.dataset.outputs} labels, the data have {len(dataset.labels)}: "
            f"{', '.join(dataset.labels)}"
        )
    if problems:
        raise WorkloadError(*problems)
    check_affine(pipeline, dataset, source)


def _part(trained: Trained, index: int) -> WeightPart:
    path, entry = trained.weights(trained.folds[index])
    module = f"members.{index}" if len(trained.folds) > 1 else ""
    otherwise = (
        f"they were trained by {trained.trainer}: if that builds a network of its own in place of that in plans.json, "
        "it cannot be read"
    )
    return WeightPart(module, path, entry, otherwise)


def _with_remarks(made: Workload, trained: Trained, pipeline: Pipeline) -> Workload:
    folds = f"fold {trained.folds[0]}" if len(trained.folds) == 1 else f"the mean of folds {', '.join(trained.folds)}"
    calls = 2 ** len(pipeline.mirror)
    mirrored = f"{calls} calls for each tile, mirrored (--option mirror=none: one)" if calls > 1 else "not mirrored"
    said = [f"{trained.place}: {trained.plans.configuration} by {trained.trainer}, {folds}, {mirrored}"]
    if not trained.trainer.startswith(TRAINERS):
        said.append(
            f"{trained.trainer} is none of nnU-Net's own trainers: its weights must fit the network of the plans, and "
            "whether it computes the same with them is not known"
        )
    return replace(made, remarks=(*made.remarks, *said))

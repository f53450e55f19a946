"""timeseries: what a window of several sensors shows, such as guarded movement. A small CNN over time.

The data folder holds arrays as docs/workloads.md has them for time series: one npz file with `series`,
(n, channels, time), and `labels`, one class for each window, beside them `groups` (the persons) and `splits`; or
NAME.npz with `series`, (channels, time), and `label`, and a manifest. Windows of a person are never in two splits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.core.configuration import Scalar
from autoopt.core.parameters import Parameter
from autoopt.workloads.augment.timeseries import augment
from autoopt.workloads.contract import Recipe, Workload
from autoopt.workloads.models.assemble import Shape, dataset_of, pipeline_of, workload_of
from autoopt.workloads.networks.classifiers import series_cnn

if TYPE_CHECKING:
    import torch

SUMMARY = "windows of time series: classification, a small CNN over (channels, time)"
DEMO_WEIGHTS = Path(__file__).parent / "weights" / "timeseries-demo.safetensors"
WIDTH, DEMO_WIDTH = 32, 16
OPTIONS: Mapping[str, Parameter] = {
    "width": Parameter(
        "integer", WIDTH, "channels of the first convolution; 32 makes 0.1 million parameters", low=4, high=256
    ),
    "tile": Parameter(
        "text", None, "samples of a window, to which others are resampled; null: what all have", nullable=True
    ),
    "labels": Parameter("text", None, "names of the classes in order, such as healthy,pain", nullable=True),
}
METRICS = ("mcc", "macro_f1", "accuracy", "auroc", "ece")
"""Matthews' correlation first: the classes of such data are rarely equally frequent."""
SETTINGS: Mapping[str, Scalar] = {
    "task": "classification",
    "order": "number",
    "mean": "train",
    "std": "train",
    "fit": "resize",
    "metrics": ",".join(METRICS),
}
"""As the options of a model of one's own. Each channel has the mean and deviation of train taken off, because sensors
have units of their own."""
RECIPE = Recipe(epochs=40, batch=16, learning_rate=3e-3, weight_decay=2e-2, augment=augment, coarse=False)


def workload(data: Path, width: int = WIDTH, tile: str | None = None, labels: str | None = None) -> Workload:
    """The workload on the windows in `data`. Raises DataError or WorkloadError with everything that is wrong."""
    options = {**SETTINGS, "tile": tile, "labels": labels}
    dataset = dataset_of(data, options)
    pipeline = pipeline_of(dataset, Shape(tile=(None,)), options, "the workload timeseries")
    name = "timeseries" if width == WIDTH else f"timeseries-width{width}"
    build = partial(_build, dataset.channels, len(dataset.labels), width)
    return replace(workload_of(dataset, pipeline, options, name, build=build), recipe=RECIPE)


def write_demo(folder: Path) -> None:
    """Fill `folder` with the synthetic windows, unless they are there."""
    from autoopt.workloads.demo import timeseries_demo

    timeseries_demo.write(folder)


def demo_options() -> Mapping[str, Any]:
    """The options of the shipped baseline."""
    return {"width": DEMO_WIDTH}


def _build(channels: int, classes: int, width: int) -> torch.nn.Module:
    """The network with fresh weights: (n, channels, time) to logits (n, classes)."""
    return series_cnn(channels, classes, width)

"""A torch network that somebody's function builds as a workload: `--model nets.py:build --weights net.pt`.

The code of the builder is run; the checkpoint is only read (`weights_only=True`, or safetensors).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from autoopt.core.configuration import Scalar
from autoopt.core.parameters import Parameter
from autoopt.errors import WorkloadError
from autoopt.workloads.contract import Workload
from autoopt.workloads.loading import find_function
from autoopt.workloads.models.assemble import OPTIONS as COMMON_OPTIONS
from autoopt.workloads.models.assemble import Shape, dataset_of, pipeline_of, workload_of

if TYPE_CHECKING:
    import torch

OPTIONS: Mapping[str, Parameter] = {
    **COMMON_OPTIONS,
    "channels": Parameter(
        "integer", None, "channels that the network takes; null: those of the images", low=1, nullable=True
    ),
}


def matches(model: str) -> bool:
    """Whether `model` names a function: file.py:build or package.module:build."""
    where, colon, function = model.rpartition(":")
    return bool(colon) and bool(where) and function.isidentifier()


def workload(model: str, data: Path, options: Mapping[str, Scalar]) -> Workload:
    """The network that the function builds, on the cases in `data`. Raises WorkloadError or DataError."""
    function, _ = find_function(model)
    dataset = dataset_of(data, options)
    shape = Shape(channels=cast("int | None", options.get("channels")))
    pipeline = pipeline_of(dataset, shape, options, model)

    def build() -> torch.nn.Module:
        import torch

        net = function()
        if not isinstance(net, torch.nn.Module):
            raise WorkloadError(f"{model} must return a torch.nn.Module, it returned {type(net).__name__}")
        return net

    build.__wrapped__ = function  # type: ignore[attr-defined]  # so that its file is part of what artifacts are made of
    return workload_of(dataset, pipeline, options, model.rpartition(":")[2], build=build)

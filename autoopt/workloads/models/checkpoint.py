"""A torch network that somebody's function builds as a workload: `--model nets.py:build --weights net.pt`.

The code of the builder is run; the checkpoint is only read (`weights_only=True`, or safetensors).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoopt.core.configuration import Scalar
from autoopt.core.parameters import Parameter
from autoopt.errors import WorkloadError
from autoopt.inference.postprocess import LEAST_DOUBT
from autoopt.workloads.contract import Workload
from autoopt.workloads.loading import find_function
from autoopt.workloads.models.assemble import OPTIONS as COMMON_OPTIONS
from autoopt.workloads.models.assemble import OUTPUT, Shape, dataset_of, pipeline_of, workload_of

if TYPE_CHECKING:
    import torch

OPTIONS: Mapping[str, Parameter] = {**COMMON_OPTIONS, "output": OUTPUT}


def matches(model: str) -> bool:
    """Whether `model` names a function: file.py:build or package.module:build."""
    where, colon, function = model.rpartition(":")
    return bool(colon) and bool(where) and function.isidentifier()


def workload(model: str, data: Path, options: Mapping[str, Scalar]) -> Workload:
    """The network that the function builds, on the cases in `data`. Raises WorkloadError or DataError."""
    function, _ = find_function(model)
    dataset = dataset_of(data, options)
    pipeline = pipeline_of(dataset, Shape(), options, model)
    output = options.get("output")
    if output == "labels":
        raise WorkloadError(
            f"{model} must build a network that answers with logits or probabilities, --option output=labels says "
            "labels: leave the operation that decides out of it"
        )

    def build() -> torch.nn.Module:
        import torch

        net = function()
        if not isinstance(net, torch.nn.Module):
            raise WorkloadError(f"{model} must return a torch.nn.Module, it returned {type(net).__name__}")
        return with_logits(net, pipeline.activation) if output == "probabilities" else net

    build.__wrapped__ = function  # type: ignore[attr-defined]  # so that its file is part of what artifacts are made of
    return workload_of(dataset, pipeline, options, model.rpartition(":")[2], build=build)


def with_logits(net: torch.nn.Module, activation: str) -> torch.nn.Module:
    """The network, changed in place to answer with the logits of its probabilities: what trainings and pipelines take.

    It answers in training as it does when it is used. See `inference.postprocess.logits_of`.
    """
    import torch

    whole = type(net)

    def forward(self: Any, image: torch.Tensor) -> torch.Tensor:
        before, self.training = self.training, False  # some have their softmax only then
        try:
            values: Any = whole.forward(self, image)
        finally:
            self.training = before
        if not isinstance(values, torch.Tensor):
            raise WorkloadError(
                f"the network must answer with one tensor where --option output=probabilities is given, it gives a "
                f"{type(values).__name__}"
            )
        values = values.float()
        if activation == "sigmoid":
            return torch.logit(values.clamp(LEAST_DOUBT, 1 - LEAST_DOUBT))
        if values.shape[1] == 1:  # of the second of two classes
            values = torch.cat([1 - values, values], dim=1)
        return torch.log(values.clamp(min=torch.finfo(torch.float32).tiny))

    net.__class__ = type(whole.__name__, (whole,), {"forward": forward, "__module__": whole.__module__})
    return net

"""Step `factorize`: layers in factors of a low rank, and the network trained again.

A 1 x 1 or linear layer becomes two (SVD), a convolution three (Tucker-2 or CP), where that saves arithmetic.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from autoopt.compress import training
from autoopt.compress.base import Changed
from autoopt.errors import Numeric, Unsupported
from autoopt.parameters import Parameter
from autoopt.records import Host, Scalar
from autoopt.workload import Workload

if TYPE_CHECKING:
    import torch

NAME = "factorize"
SWITCH = "keep"
VERSION = 1
DISTRIBUTIONS: tuple[str, ...] = ("torch", "monai", "numpy")
PARAMETERS: Mapping[str, Parameter] = {
    "keep": Parameter("number", None, "the share of what `by` counts that is kept", low=0.01, high=1.0, nullable=True),
    "by": Parameter(
        "choice", "energy", "energy (squared singular values) of the weights, or ranks", ("energy", "ratio")
    ),
    "method": Parameter("choice", "tucker", "of convolutions: tucker or cp; all else is svd", ("tucker", "cp")),
    "steps": Parameter("integer", 120, "training steps afterwards; 0: batch norms only", low=0, high=100_000),
    **training.PARAMETERS,
}


def canonical(settings: Mapping[str, Scalar], runtime: Mapping[str, Scalar], host: Host) -> dict[str, Scalar] | None:
    """`settings` with defaults filled in; None where nothing is factored."""
    known = {name: settings.get(name, parameter.default) for name, parameter in PARAMETERS.items()}
    if known["keep"] is None or runtime.get("name") == "fake":
        return None
    return training.canonical(known, host)


def parts(settings: Mapping[str, Scalar]) -> list[dict[str, Scalar]]:
    """All in one."""
    return [dict(settings)] if settings else []


def change(
    settings: Mapping[str, Scalar], model: torch.nn.Module, teacher: torch.nn.Module, workload: Workload
) -> Changed:
    """Factor what gains by it and train the network again.

    Raises Unsupported where no layer gains, Numeric when the result has another shape or is not finite.
    """
    import torch

    from autoopt.nets import low_rank, recovery
    from autoopt.nets.files import size_of

    began = time.perf_counter()
    batch = torch.zeros(workload.pipeline.input_shape)
    before, answer = size_of(model, batch), model(batch)
    found = {}
    for name, layer in list(low_rank.layers(model)):
        how = low_rank.spec(layer, str(settings["method"]), float(settings["keep"] or 1), str(settings["by"]))
        if how is not None and _bears(model, name, how, batch):
            low_rank.put(model, name, low_rank.factored(layer, how))
            found[name] = list(how["ranks"])
    if not found:
        raise Unsupported(
            f"factorize must find a layer that is cheaper in factors, with {settings['keep']} of the {settings['by']} "
            f"{workload.name} has none: keep less"
        )
    report = recovery.recover(model, teacher, workload, training.plan_of(settings))
    got = model(batch)
    if got.shape != answer.shape or not torch.isfinite(got).all():
        raise Numeric(f"the network in factors must answer with finite numbers of shape {tuple(answer.shape)}")
    after, whole = size_of(model, batch), size_of(teacher, batch)
    return Changed(
        model,
        {
            "layers": found, "parameters": after.parameters, "parameters_before": before.parameters,
            "parameters_left": after.parameters / whole.parameters, "macs": after.macs, "macs_before": before.macs,
            "macs_left": after.macs / max(1, whole.macs), "recovery": report, "seconds": time.perf_counter() - began,
        },
    )  # fmt: skip


def _bears(model: torch.nn.Module, name: str, how: Mapping[str, object], batch: torch.Tensor) -> bool:
    """Whether the code of the model works with several layers in the place of this one: some asks it for its weight."""
    from autoopt.nets import low_rank

    trial = copy.deepcopy(model).to("meta")
    low_rank.put(trial, name, low_rank.blank(trial.get_submodule(name), how).to("meta"))
    try:
        trial(batch.to("meta"))
    except (RuntimeError, AttributeError, TypeError):
        return False
    return True

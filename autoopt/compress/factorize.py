"""Step `factorize`: layers are replaced by factors of low rank, and the network is trained again.

A 1 x 1 or linear layer becomes two (SVD), a convolution three (Tucker-2 or CP), where that saves arithmetic.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

from autoopt.compress import training_settings
from autoopt.compress.base import Changed
from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.errors import Unsupported
from autoopt.workloads.contract import Workload

if TYPE_CHECKING:
    import torch

    from autoopt.nets.low_rank import Spec

SWITCH = "keep"
VERSION = 5
DISTRIBUTIONS: tuple[str, ...] = ("torch", "monai", "numpy")
PARAMETERS: Mapping[str, Parameter] = {
    "keep": Parameter(
        "number",
        None,
        "the share of energy or ranks that is kept, see `by`; null: off",
        low=0.01,
        high=1.0,
        nullable=True,
    ),
    "by": Parameter(
        "choice",
        "energy",
        "what `keep` counts: energy (squared singular values) of the weights, or ranks",
        ("energy", "ratio"),
    ),
    "method": Parameter(
        "choice", "tucker", "how convolutions are factored; linear and 1 x 1 layers are split by SVD", ("tucker", "cp")
    ),
    "steps": Parameter(
        "integer",
        120,
        "length of the training afterwards, in `unit`; 0: only batch norms are renewed",
        low=0,
        high=100_000,
    ),
    **training_settings.PARAMETERS,
}


def canonical(settings: Mapping[str, Scalar], runtime: Mapping[str, Scalar], host: Host) -> dict[str, Scalar] | None:
    """`settings` with defaults filled in; None where nothing is factored."""
    return training_settings.canonical(PARAMETERS, SWITCH, settings, runtime, host)


def parts(settings: Mapping[str, Scalar]) -> list[dict[str, Scalar]]:
    """The settings as the one part; empty when the step is off."""
    return [dict(settings)] if settings else []


def left(part: Mapping[str, Scalar]) -> float:
    """1: what is left is not known before it is tried."""
    return 1.0


def change(
    settings: Mapping[str, Scalar], model: torch.nn.Module, teacher: torch.nn.Module, workload: Workload
) -> Changed:
    """Factor the layers that get cheaper by it and train the network again.

    The report has the ranks of each factored layer and what `Before.train` reports. Raises Unsupported where no layer
    gets cheaper, Numeric when the result has another shape or is not finite.
    """
    from autoopt.nets import low_rank

    before = training_settings.Before(model, workload)
    found = _cheaper(settings, model, before.batch)
    for name, how in found.items():
        low_rank.put(model, name, low_rank.factored(model.get_submodule(name), how))
    if not found:
        raise Unsupported(
            f"factorize must find a layer that is cheaper in factors, with {settings['keep']} of the {settings['by']} "
            f"{workload.name} has none: keep less"
        )
    ranks = {name: list(how["ranks"]) for name, how in found.items()}
    return Changed(model, {"layers": ranks, **before.train(settings, model, teacher)})


def _cheaper(settings: Mapping[str, Scalar], model: torch.nn.Module, batch: torch.Tensor) -> Mapping[str, Spec]:
    """The layers that get cheaper by the settings, and how each is split."""
    from autoopt.nets import low_rank

    method, keep, by = str(settings["method"]), float(settings["keep"] or 1), str(settings["by"])
    wanted = {name: low_rank.spec(layer, method, keep, by) for name, layer in low_rank.layers(model)}
    return _supported(model, {name: how for name, how in wanted.items() if how is not None}, batch)


def _supported(model: torch.nn.Module, specs: Mapping[str, Spec], batch: torch.Tensor) -> Mapping[str, Spec]:
    """The layers that the model works with in factors: some code asks a layer for its weight."""
    if _accepts(model, specs, batch):
        return specs
    return {name: how for name, how in specs.items() if _accepts(model, {name: how}, batch)}


def _accepts(model: torch.nn.Module, specs: Mapping[str, Spec], batch: torch.Tensor) -> bool:
    """Whether the model runs with these layers in factors, tried on a copy without data."""
    from autoopt.nets import low_rank

    trial = copy.deepcopy(model).to("meta")
    for name, how in specs.items():
        low_rank.put(trial, name, low_rank.blank(trial.get_submodule(name), how).to("meta"))
    try:
        trial(batch.to("meta"))
    except (RuntimeError, AttributeError, TypeError):
        return False
    return True

"""Step `control`: another network in the place of the workload's, trained in the same way.

It is what a search is compared with, not what it looks for: the space of a search does not vary it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from autoopt.compress import training_settings
from autoopt.compress.base import Changed
from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.parameters import Parameter
from autoopt.workloads.contract import Workload

if TYPE_CHECKING:
    import torch

SWITCH = "network"
VERSION = 2
DISTRIBUTIONS: tuple[str, ...] = ("torch",)
PARAMETERS: Mapping[str, Parameter] = {
    "network": Parameter(
        "choice",
        None,
        "the network that takes the workload's place: one layer with the same in- and output; null: off",
        ("one-layer",),
        nullable=True,
    ),
    "steps": Parameter("integer", 200, "length of its training, in `unit`", low=1, high=100_000),
    **training_settings.PARAMETERS,
}


def canonical(settings: Mapping[str, Scalar], runtime: Mapping[str, Scalar], host: Host) -> dict[str, Scalar] | None:
    """`settings` with defaults filled in; None where the network is the workload's own."""
    return training_settings.canonical(PARAMETERS, SWITCH, settings, runtime, host)


def parts(settings: Mapping[str, Scalar]) -> list[dict[str, Scalar]]:
    """The settings as the one part; empty when the step is off."""
    return [dict(settings)] if settings else []


def left(part: Mapping[str, Scalar]) -> float:
    """Next to nothing: one layer."""
    return 0.0


def change(
    settings: Mapping[str, Scalar], model: torch.nn.Module, teacher: torch.nn.Module, workload: Workload
) -> Changed:
    """Put one layer in the place of the network, and train it to answer as `teacher` does.

    Where `seconds` are short it leaves out steps all along, so that it ends in time with the lowest learning rate: most
    of the time goes to the answers of `teacher`, which may take seconds each. The report is that of `Before.train`.
    Raises Numeric when the result is not finite.
    """
    from autoopt.nets import one_layer

    before = training_settings.Before(model, workload)
    small = one_layer.build(workload).eval()
    return Changed(small, before.train(settings, small, teacher, skips=True))

"""Step `recover`: the network is trained again by distillation from the whole one, as a step of its own.

After `prune` and `factorize`, which end with a training of their own, it is a longer one; without them there is nothing
to give back, and the network stays as it is.
"""

from __future__ import annotations

import time
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

SWITCH = "steps"
VERSION = 4
DISTRIBUTIONS: tuple[str, ...] = ("torch", "monai")
PARAMETERS: Mapping[str, Parameter] = {
    "steps": Parameter(
        "integer", None, "length of the training, in `unit`; null: off", low=1, high=1_000_000, nullable=True
    ),
    **training_settings.PARAMETERS,
}


def canonical(settings: Mapping[str, Scalar], runtime: Mapping[str, Scalar], host: Host) -> dict[str, Scalar] | None:
    """`settings` with defaults filled in; None where nothing is trained."""
    return training_settings.canonical(PARAMETERS, SWITCH, settings, runtime, host)


def parts(settings: Mapping[str, Scalar]) -> list[dict[str, Scalar]]:
    """The settings as the one part; empty when the step is off."""
    return [dict(settings)] if settings else []


def left(part: Mapping[str, Scalar]) -> float:
    """1: the network stays as large as it is."""
    return 1.0


def change(
    settings: Mapping[str, Scalar], model: torch.nn.Module, teacher: torch.nn.Module, workload: Workload
) -> Changed:
    """Train the network in place; report the recovery and its seconds. Raises Numeric when the loss is not finite."""
    from autoopt.nets import recovery

    began = time.perf_counter()
    report = recovery.recover(model, teacher, workload, training_settings.plan_of(settings, workload))
    return Changed(model, {"recovery": report, "seconds": time.perf_counter() - began})

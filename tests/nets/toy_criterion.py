"""A pruning criterion from outside the package: one function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from autoopt.nets.tracing import Group
from autoopt.workloads.contract import Workload

if TYPE_CHECKING:
    import torch


def last_first(groups: Sequence[Group], model: torch.nn.Module, workload: Workload) -> list[np.ndarray]:
    """The last units of a group are removed first."""
    return [-np.arange(len(group), dtype=float) for group in groups]

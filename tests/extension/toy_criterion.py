"""A pruning criterion: the last units of a group matter most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from autoopt.nets.tracing import Group
from autoopt.workloads.contract import Workload

if TYPE_CHECKING:
    import torch


def last_first(groups: Sequence[Group], model: torch.nn.Module, workload: Workload) -> list[np.ndarray]:
    """The place of each unit in its group."""
    return [np.arange(1.0, len(group) + 1) for group in groups]

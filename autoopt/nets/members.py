"""The networks of an ensemble: a module that answers with the mean of its `members`, such as the folds of nnU-Net."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def members_of(model: torch.nn.Module) -> Sequence[torch.nn.Module]:
    """The networks of an ensemble, a module that answers with the mean of its `members`; else the network itself."""
    return list(model.members) if is_ensemble(model) else [model]  # type: ignore[arg-type]


def is_ensemble(model: torch.nn.Module) -> bool:
    """Whether a module has `members`, a list of networks."""
    from torch import nn

    members = getattr(model, "members", None)
    return isinstance(members, nn.ModuleList) and len(members) > 0


def keep_members(model: torch.nn.Module, count: int) -> None:
    """Keep the first members of an ensemble, in place; their weights keep their names, also where one is left."""
    from torch import nn

    ensemble: Any = model
    ensemble.members = nn.ModuleList(members_of(model)[:count])

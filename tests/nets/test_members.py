"""The networks of an ensemble."""

from __future__ import annotations

import torch

from autoopt.nets.members import is_ensemble, keep_members, members_of
from tests import tiny


def test_members_are_those_of_an_ensemble() -> None:
    """A network alone is its own member and no ensemble; of an ensemble the first are kept, with their names."""
    one = tiny.build()
    assert members_of(one) == [one] and not is_ensemble(one)
    several = torch.nn.Module()
    several.members = torch.nn.ModuleList(torch.nn.Conv2d(1, 1, 1) for _ in range(3))
    first = several.members[0]
    keep_members(several, 1)
    assert is_ensemble(several) and members_of(several) == [first]
    assert list(several.state_dict()) == ["members.0.weight", "members.0.bias"]

"""Of an ensemble the first members are kept."""

from __future__ import annotations

import pytest
import torch

from autoopt.compress import ensemble
from autoopt.errors import Unsupported
from tests import tiny


class Mean(torch.nn.Module):
    """The mean of three small networks, which differ."""

    def __init__(self) -> None:
        super().__init__()
        self.members = torch.nn.ModuleList(torch.nn.Conv2d(1, 2, 1) for _ in range(3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(())
        for member in self.members:
            total = total + member(images)
        return total / len(self.members)


def test_the_first_members_are_kept() -> None:
    """Two of three answer as the mean of the first two, one as the first, and the teacher is left alone."""
    images, workload = torch.ones(1, 1, 4, 4), tiny.workload()
    for count in (1, 2):
        model, teacher = Mean(), Mean()
        expected = sum(member(images) for member in list(model.members)[:count]) / count
        changed = ensemble.change({"members": count}, model, teacher, workload)
        assert changed.report == {"members": count, "of": 3}
        assert torch.allclose(changed.model(images), expected)
        assert len(teacher.members) == 3


def test_what_has_no_members_is_refused() -> None:
    """More members than there are, or some of a single network, are refused with how many there are."""
    workload = tiny.workload()
    assert "is one network" in ensemble.refusal({"members": 1}, torch.nn.Conv2d(1, 2, 1), workload)
    assert ensemble.refusal({"members": 3}, Mean(), workload) == ""
    with pytest.raises(Unsupported, match="must be at most 3, the networks"):
        ensemble.change({"members": 4}, Mean(), Mean(), workload)

"""The running statistics of batch norms."""

from __future__ import annotations

import itertools

import pytest

torch = pytest.importorskip("torch")

from autoopt.nets.norms import renew_norms  # noqa: E402


@pytest.mark.parametrize(("size", "drawn"), [(64, 12), (16, 16), (4, 64)])
def test_statistics_are_of_enough_values(size: int, drawn: int) -> None:
    """The smaller the maps of a norm, the more batches it is given: 8192 values a channel, in 12 to 64 batches."""
    model, seen = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 1), torch.nn.BatchNorm2d(3)), []
    batches = (seen.append(number) or torch.randn(2, 1, size, size) + 5.0 for number in itertools.count())
    assert renew_norms(model, batches) == 1 and len(seen) == drawn
    weight, bias = model[0].weight.detach().flatten(), model[0].bias.detach()
    assert torch.allclose(model[1].running_mean, 5.0 * weight + bias, atol=0.2)


def test_without_batch_norms_nothing_is_drawn() -> None:
    """A network that keeps no running statistics needs no images for them."""
    batches = iter([torch.zeros(1, 1, 4, 4)])
    assert renew_norms(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1), torch.nn.GroupNorm(1, 2)), batches) == 0
    assert len(list(batches)) == 1

"""Removing channels: whatever the network, what is removed is what would have been zero."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from autoopt.nets import surgery  # noqa: E402
from autoopt.nets.tracing import Group  # noqa: E402
from tests.nets.zoo import built, error_of_cut, nets, weights_in  # noqa: E402

NETS = nets()
SMALLEST = {"flexible unet": 0.75}
"""What is left of the weights at half of the channels: about a quarter, but where code or unused weights keep some."""


@pytest.fixture(scope="module", params=list(NETS))
def case(request: pytest.FixtureRequest) -> tuple[str, torch.nn.Module, torch.Tensor, list[Group]]:
    build, shape = NETS[request.param]
    model = built(build).double()  # so that another order of sums is no difference
    batch = torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return request.param, model, batch, surgery.removable(model, batch)


Case = tuple[str, "torch.nn.Module", "torch.Tensor", "list[Group]"]


def test_what_is_removed_is_what_would_be_zero(case: Case) -> None:
    """Without units whose weights are all zero the network answers the same, to rounding."""
    _, model, batch, groups = case
    assert error_of_cut(model, batch, groups) < 1e-9


def test_half_of_the_channels_is_a_quarter_of_the_weights(case: Case) -> None:
    """Where half of every group goes, about a quarter of the weights is left, and every layer knows its sizes."""
    name, model, batch, groups = case
    fewer = copy.deepcopy(model)
    surgery.cut(fewer, {place: range(len(group) // 2) for place, group in enumerate(groups)}, groups)
    left = weights_in(fewer) / weights_in(model)
    assert 0.2 < left < SMALLEST.get(name, 0.5)
    assert fewer(batch).shape == model(batch).shape
    for layer in fewer.modules():
        weight = getattr(layer, "weight", None)
        if isinstance(layer, torch.nn.modules.conv._ConvNd):
            first, second = (1, 0) if layer.transposed else (0, 1)
            assert layer.out_channels == weight.shape[first] * (layer.groups if layer.transposed else 1)
            assert layer.in_channels == weight.shape[second] * (1 if layer.transposed else layer.groups)


def test_a_channel_a_layer_is_enough(case: Case) -> None:
    """Cut again down to one unit a group, the network still takes and gives what it did."""
    _, model, batch, groups = case
    fewer = copy.deepcopy(model)
    surgery.cut(fewer, {place: range(len(group) // 2) for place, group in enumerate(groups)}, groups)
    rest = surgery.removable(fewer, batch)
    surgery.cut(fewer, {place: range(1, len(group)) for place, group in enumerate(rest)}, rest)
    assert fewer(batch).shape == model(batch).shape
    assert torch.isfinite(fewer(batch)).all()


def test_a_smaller_network_is_stored_and_read_back(case: Case) -> None:
    """Sizes and weights alone make the same network of a fresh one."""
    name, model, batch, groups = case
    fewer = copy.deepcopy(model)
    surgery.cut(fewer, {place: range(len(group) // 2) for place, group in enumerate(groups)}, groups)
    again = built(NETS[name][0]).double()
    surgery.resize(again, surgery.sizes(fewer), fewer.state_dict())
    assert torch.equal(again(batch), fewer(batch))

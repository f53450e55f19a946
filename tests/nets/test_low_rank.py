"""Layers in factors."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from autoopt.nets import low_rank  # noqa: E402

LAYERS = {
    "linear": (lambda: torch.nn.Linear(6, 9), (2, 6), {"method": "svd", "ranks": [6]}),
    "1x1": (lambda: torch.nn.Conv2d(6, 9, 1, stride=2), (1, 6, 5, 5), {"method": "svd", "ranks": [6]}),
    "strided": (
        lambda: torch.nn.Conv2d(4, 6, 3, stride=2, padding=1),
        (1, 4, 9, 9),
        {"method": "tucker", "ranks": [4, 6]},
    ),
    "dilated 3d": (
        lambda: torch.nn.Conv3d(3, 4, 3, padding=2, dilation=2, bias=False),
        (1, 3, 6, 6, 6),
        {"method": "tucker", "ranks": [3, 4]},
    ),
    "separable": (
        lambda: torch.nn.Conv2d(2, 3, 3, padding=1),
        (1, 2, 6, 6),
        {"method": "cp", "ranks": [12]},
    ),
}


@pytest.mark.parametrize("name", LAYERS)
def test_all_ranks_are_the_layer_itself(name: str) -> None:
    """With as many ranks as there are, the factors answer as the layer does."""
    build, shape, how = LAYERS[name]
    torch.manual_seed(0)
    layer, batch = build(), torch.randn(shape)
    factors = low_rank.factored(layer, how)
    with torch.no_grad():
        torch.testing.assert_close(factors(batch), layer(batch), atol=1e-3, rtol=1e-3)


@settings(max_examples=25)
@given(energy=st.floats(0.3, 0.99), seed=st.integers(0, 20))
def test_energy_bounds_the_error(energy: float, seed: int) -> None:
    """What a layer of two axes loses of its squared weights is at most the energy that was not kept."""
    torch.manual_seed(seed)
    layer = torch.nn.Linear(12, 10)
    how = low_rank.spec(layer, "tucker", energy, "energy")
    if how is None:
        return
    first, second = low_rank.factored(layer, how)
    weight, product = layer.weight.detach(), (second.weight @ first.weight).detach()
    lost = float(((product - weight) ** 2).sum() / (weight**2).sum())
    assert lost <= 1 - energy + 1e-6
    assert how["ranks"][0] == 1 or lost > 0 or energy > 0.99


@pytest.mark.parametrize("shape", [(6, 20), (20, 6), (8, 8)], ids=["wide", "tall", "square"])
def test_factors_are_as_near_as_can_be(shape: tuple[int, int]) -> None:
    """No product of that rank is nearer to the layer, also where units are dead; both factors are of one size."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(*shape)
    with torch.no_grad():
        layer.weight[:3] = 0.0
    weight = layer.weight.detach()
    for rank in (1, 3, 5):
        first, second = low_rank.factored(layer, {"method": "svd", "ranks": [rank]})
        distance = float(((second.weight @ first.weight).detach() - weight).square().sum())
        best = float((torch.linalg.svdvals(weight.double())[rank:] ** 2).sum())
        assert distance == pytest.approx(best, abs=1e-5)
        assert float(first.weight.detach().norm()) == pytest.approx(float(second.weight.detach().norm()), rel=1e-3)


@pytest.mark.parametrize("shape", [(4, 3), (1, 8), (8, 1)])
def test_one_rank_is_enough(shape: tuple[int, int]) -> None:
    """A convolution in factors of rank one answers with the shape of the layer, in finite numbers."""
    layer, batch = torch.nn.Conv2d(*shape, 3), torch.randn(1, shape[0], 6, 6)
    with torch.no_grad():
        answer = low_rank.factored(layer, {"method": "tucker", "ranks": [1, 1]})(batch)
        assert answer.shape == layer(batch).shape and torch.isfinite(answer).all()


def test_what_saves_nothing_is_left() -> None:
    """A layer that would be dearer in factors has no specification."""
    assert low_rank.spec(torch.nn.Conv2d(16, 16, 3), "tucker", 1.0, "ratio") is None
    assert low_rank.spec(torch.nn.Linear(4, 2), "tucker", 0.9, "ratio") is None
    assert low_rank.spec(torch.nn.Conv2d(16, 16, 3), "tucker", 0.25, "ratio") == {"method": "tucker", "ranks": [4, 4]}

"""What single operations do to channels; whole networks are in tests/nets/test_surgery.py."""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")  # the networks beside which the check of a cut stands

from autoopt.nets import layer_rules, shape_rules  # noqa: E402
from autoopt.nets.rule_table import RULES  # noqa: E402
from autoopt.nets.tracing import groups  # noqa: E402
from tests.nets.zoo import built, error_of_cut  # noqa: E402

functions = torch.nn.functional


class Between(torch.nn.Module):
    """Two convolutions of 3 to 8 channels, what a test does with both, and a convolution of what comes out."""

    def __init__(self, between: Callable[..., torch.Tensor]) -> None:
        super().__init__()
        self.one, self.other = torch.nn.Conv2d(3, 8, 1), torch.nn.Conv2d(3, 8, 1)
        self.matrix = torch.nn.Parameter(torch.linspace(-1, 1, 64).reshape(8, 8))
        self.between = between
        with torch.no_grad():
            channels = self.middle(torch.zeros(1, 3, 6, 6)).shape[1]
        self.last = torch.nn.Conv2d(channels, 2, 1)

    def middle(self, batch: torch.Tensor) -> torch.Tensor:
        return self.between(self.one(batch), self.other(batch), self.matrix)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.last(self.middle(batch))
        return answer


def tokens(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(2).transpose(1, 2)


def image(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(1, 2).unflatten(2, (6, 6))


def unpooled(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """SegNet: values go back to the places that they came from."""
    values, places = functions.max_pool2d(one, 2, return_indices=True)
    return functions.max_unpool2d(values * functions.avg_pool2d(other, 2), places, 2)


def attended(one: torch.Tensor, other: torch.Tensor, scale: float | None) -> torch.Tensor:
    x, y = tokens(one), tokens(other)
    return image(functions.scaled_dot_product_attention(x, x, y, scale=scale))


FOLLOWED: dict[str, tuple[Callable[..., torch.Tensor], int]] = {
    "half gates half": (lambda one, other, _: functions.glu(torch.cat([one, other], 1), 1), 1),
    "back to their places": (lambda one, other, _: unpooled(one, other), 1),
    "cast": (lambda one, other, _: (one.float() + other).to(one.dtype), 1),
    "the largest of a row": (lambda one, other, _: one + other.max(3, keepdim=True).values, 1),
    "times a matrix": (lambda one, other, matrix: image(tokens(one + other) @ matrix), 2),
    "attention of a fixed scale": (lambda one, other, _: attended(one, other, 0.5), 2),
    "attention of its own scale": (lambda one, other, _: attended(one, other, None), 1),
    "blocks of pixels": (lambda one, other, _: functions.pixel_unshuffle(one + other, 2), 1),
    "patches": (lambda one, other, _: functions.unfold(one + other, 2).unflatten(2, (5, 5)), 1),
    "channels put around": (lambda one, other, _: functions.pad(one + other, (0, 0, 0, 0, 2, 3)), 1),
    "zeros alike": (lambda one, other, _: torch.maximum(one + other, torch.zeros_like(one)), 1),
    "axes swapped": (lambda one, other, _: (one + other).mT, 1),
    "a part of a row": (lambda one, other, _: (one + other).index_select(3, torch.tensor([0, 2])), 1),
}


@pytest.mark.parametrize("case", FOLLOWED)
def test_channels_are_followed_exactly(case: str) -> None:
    """Channels go through the operation, and without half of them the answer is that with zeros in their place."""
    between, number = FOLLOWED[case]
    model = built(lambda: Between(between)).double()
    batch = torch.randn(1, 3, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = [group for group in groups(model, batch) if len(group) > 1]
    assert [len(group) for group in found] == [8] * number
    assert error_of_cut(model, batch, found) < 1e-9


def test_the_rules_stand_in_the_table() -> None:
    """A rule is found by the name of its operation."""
    assert RULES["conv2d"] is layer_rules._convolution and RULES["permute"] is shape_rules._permuted

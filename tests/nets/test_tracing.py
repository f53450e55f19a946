"""Which channels go together in a traced network: nets/tracing.py with the rules of nets/rules.py.

tests/nets/test_surgery.py removes what is found here, and the heads of nets/heads.py, from whole networks.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

torch = pytest.importorskip("torch")

from autoopt.nets.rule_table import RULES, rule  # noqa: E402
from autoopt.nets.tracing import groups  # noqa: E402

functions = torch.nn.functional


class Two(torch.nn.Module):
    """Two convolutions of 3 to 8 channels, what a test does between, and a head of 8 or 16 channels."""

    def __init__(self, between: Callable[..., torch.Tensor], channels: int = 8) -> None:
        super().__init__()
        self.one, self.other = (torch.nn.Conv2d(3, 8, 3, padding=1) for _ in range(2))
        self.head = torch.nn.Conv2d(channels, 2, 1)
        self.between = between

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.between(self.one(batch), self.other(batch)))
        return found


def found(between: Callable[..., torch.Tensor], channels: int = 8) -> dict[str, int]:
    """The groups by the name of their first layer, with their number of units."""
    model = Two(between, channels).eval()
    return {group.name: len(group) for group in groups(model, torch.zeros(1, 3, 8, 8))}


def test_a_sum_joins_its_terms() -> None:
    """The channels of both convolutions are one group: a channel goes from both, and from the head's input."""
    model = Two(lambda one, other: torch.relu(one + other)).eval()
    (group,) = groups(model, torch.zeros(1, 3, 8, 8))
    assert len(group) == 8
    assert {name for name, _ in group.axes} == {"one.weight", "one.bias", "other.weight", "other.bias", "head.weight"}


def test_a_concatenation_leaves_its_parts_apart() -> None:
    """Channels side by side are removed independently."""
    assert found(lambda one, other: torch.cat([one, other], dim=1), 16) == {"one": 8, "other": 8}


@pytest.mark.parametrize(
    "between",
    [
        lambda one, other: one + other.flip(1),
        lambda one, other: one + torch.sort(other, dim=1).values,
        lambda one, other: one + functions.local_response_norm(other, 3),
    ],
    ids=["flipped", "sorted", "normalised among neighbours"],
)
def test_what_is_not_known_is_kept(between: Callable[..., torch.Tensor]) -> None:
    """An operation without a rule, or that mixes places of the axis, keeps all channels that it touches."""
    assert found(between) == {}


def test_input_and_answer_are_kept() -> None:
    """No group has an index of the first layer's input or of the last layer's output."""
    model = Two(lambda one, other: one + other).eval()
    axes = {key for group in groups(model, torch.zeros(1, 3, 8, 8)) for key in group.axes}
    assert not axes & {("one.weight", 1), ("other.weight", 1), ("head.weight", 0), ("head.bias", 0)}


def test_a_rule_is_a_decorated_function() -> None:
    """A rule for another operation is one function, found by the name of the operation."""
    assert found(lambda one, other: one + torch.cummax(other, dim=2).values) == {}

    @rule("cummax")
    def cummax(sets: object, node: object) -> object:
        axes = sets.of(node.args[0])  # type: ignore[attr-defined]
        return [list(axes), list(axes)]

    try:
        assert found(lambda one, other: one + torch.cummax(other, dim=2).values) == {"one": 8}
    finally:
        del RULES["cummax"]

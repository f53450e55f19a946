"""What is done to each number alone keeps channels apart, whatever torch says of the operation."""

from __future__ import annotations

import inspect
import warnings

import pytest

torch = pytest.importorskip("torch")

from autoopt.nets.tracing import groups  # noqa: E402

CHANNELS = 8


def elementwise() -> list[torch.nn.Module]:
    """Every activation of torch that acts on each number alone, also written into its argument."""
    kinds = vars(torch.nn.modules.activation).values()
    kinds = [kind for kind in kinds if inspect.isclass(kind) and issubclass(kind, torch.nn.Module)]
    found, x = [], torch.linspace(-4, 4, 4 * CHANNELS).reshape(1, CHANNELS, 2, 2)
    for kind in kinds:
        if kind in (torch.nn.Module, torch.nn.PReLU):  # one is no activation, the other has a weight
            continue
        parameters = inspect.signature(kind).parameters
        given = {"threshold": 0.1, "value": 0.0} if "threshold" in parameters and "value" in parameters else {}
        for inplace in (False, True) if "inplace" in parameters else (None,):
            try:
                made = kind(**given, **({} if inplace is None else {"inplace": inplace})).eval()
                whole = made(x.clone())
                alone = whole.shape == x.shape and whole[:, :1].equal(made(x[:, :1].clone()))
            except (TypeError, RuntimeError, AttributeError):  # needs sizes, or several inputs
                continue
            found += [made] if alone else []
    return found


class Sum(torch.nn.Module):
    """A convolution, the sum of what activations make of it, and another convolution."""

    def __init__(self, activations: list[torch.nn.Module]) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Conv2d(3, CHANNELS, 1), torch.nn.Conv2d(CHANNELS, 2, 1)
        self.activations = torch.nn.ModuleList(activations)

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        x = self.first(batch)
        answer: torch.Tensor = self.last(torch.stack([made(x.clone()) for made in self.activations]).sum(0))
        return answer


def units(activations: list[torch.nn.Module]) -> int:
    return sum(map(len, groups(Sum(activations).eval(), torch.zeros(1, 3, 4, 4))))


def test_every_activation_of_torch_keeps_channels_apart() -> None:
    """After any activation of torch that acts on each number alone, every channel can go by itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # softmax without an axis
        made = elementwise()
    assert len({type(item) for item in made}) > 20
    if units(made) != CHANNELS:
        pytest.fail(f"channels are kept by {[item for item in made if units([item]) != CHANNELS]}")

"""The optimisers of trainings: their learning rate, the bytes of their state, and why one cannot run."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from autoopt.core.packages import is_installed  # noqa: E402
from autoopt.errors import Unsupported  # noqa: E402
from autoopt.nets.optimizers import (  # noqa: E402
    ADAMW,
    ADAMW_8BIT,
    optimizer,
    set_rate,
    state_bytes,
    tensor_bytes,
    why_not,
)


def test_state_is_two_numbers_for_each_weight() -> None:
    """AdamW keeps two float32 numbers for each weight and a count for each tensor; before its first step nothing."""
    weight = torch.nn.Parameter(torch.ones(30, 4))
    made = optimizer(ADAMW, [weight], learning_rate=0.1, weight_decay=0.0)
    assert state_bytes(made) == 0
    weight.sum().backward()
    made.step()
    assert state_bytes(made) == 2 * 4 * 120 + 4


def test_a_rate_that_is_a_tensor_stays_one() -> None:
    """The learning rate changes in place where it is a tensor, as torchao demands."""
    weight = torch.nn.Parameter(torch.ones(1))
    plain, other = (torch.optim.SGD([weight], lr=rate) for rate in (0.1, torch.tensor(0.1)))
    kept = other.param_groups[0]["lr"]
    for made in (plain, other):
        set_rate(made, 0.5)
        assert float(made.param_groups[0]["lr"]) == 0.5
    assert other.param_groups[0]["lr"] is kept


def test_a_tensor_made_of_others_has_their_bytes() -> None:
    """A quantized tensor counts by what it holds, whatever type it claims to be."""

    class Quantized(torch.Tensor):  # type: ignore[misc]
        codes: Any
        scale: Any

        @staticmethod
        def __new__(cls, codes: Any, scale: Any) -> Any:
            return torch.Tensor._make_wrapper_subclass(cls, codes.shape, dtype=torch.float32)  # type: ignore[attr-defined]

        def __init__(self, codes: Any, scale: Any) -> None:
            self.codes, self.scale = codes, scale

        @classmethod
        def __torch_dispatch__(cls, *call: Any) -> Any:
            raise NotImplementedError

        def __tensor_flatten__(self) -> tuple[list[str], None]:
            return ["codes", "scale"], None

    assert tensor_bytes(Quantized(torch.zeros(512, dtype=torch.uint8), torch.zeros(2))) == 512 + 8
    assert tensor_bytes(torch.zeros(3, dtype=torch.bfloat16)) == 6 and tensor_bytes(3.0) == 0


def test_why_it_cannot_run() -> None:
    """A missing package and a missing compiler are reasons that say what to do; AdamW needs neither."""
    assert why_not(ADAMW, installed=lambda name: False, which=lambda name: None) == ""
    assert "pip install 'autoopt[training]'" in why_not(ADAMW_8BIT, installed=lambda name: False)
    assert "no C++ compiler" in why_not(ADAMW_8BIT, installed=lambda name: True, which=lambda name: None)
    assert why_not(ADAMW_8BIT, installed=lambda name: True, which=lambda name: f"/bin/{name}") == ""


@pytest.mark.skipif(is_installed("torchao"), reason="torchao is installed")
def test_without_torchao_it_is_refused() -> None:
    """Without the package the optimiser is refused as unsupported, not as a crash."""
    with pytest.raises(Unsupported, match=r"pip install 'autoopt\[training\]'"):
        optimizer(ADAMW_8BIT, [torch.nn.Parameter(torch.ones(1))], learning_rate=0.1, weight_decay=0.0)

"""State-space blocks: what they compute, at which cost, and that runtimes compute the same."""

from __future__ import annotations

import pytest

from autoopt.workloads.networks import state_space

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("length", [5, 16, 40, 64])
def test_pieces_compute_the_recurrence(length: int, backwards: bool) -> None:
    """What is read in pieces is what a loop over the pixels computes, from either end and of any length."""
    torch.manual_seed(0)
    space = state_space.state_space(3, backwards=backwards).double()
    x = torch.randn(2, 3, length, dtype=torch.float64)
    step, rate = space.log_step.exp(), space.log_rate.exp()
    state, answers = torch.zeros(2, 3, state_space.STATES, dtype=torch.float64), [torch.zeros(2, 3)] * length
    for place in reversed(range(length)) if backwards else range(length):
        state = torch.exp(-step[:, None] * rate) * state + (step * x[..., place])[..., None]
        answers[place] = (space.weights * state).sum(-1) + space.skip * x[..., place]
    with torch.no_grad():
        torch.testing.assert_close(space(x), torch.stack(answers, dim=-1).detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(2, 3, 50), (1, 3, 30, 44), (1, 3, 8, 12, 20)], ids=str)
def test_series_planes_and_volumes_come_out_as_they_went_in(shape: tuple[int, ...]) -> None:
    """The answer has a logit for each class and pixel, and each pixel's hangs on the whole input."""
    torch.manual_seed(0)
    net = state_space.state_space_net(3, 2, len(shape) - 2, width=8).eval()
    batch = torch.randn(shape, requires_grad=True)
    answer = net(batch)
    assert answer.shape == (shape[0], 2, *shape[2:])
    answer[(0, 0, *(0 for _ in shape[2:]))].backward()
    assert batch.grad is not None and float(batch.grad[(0, 0, *(-1 for _ in shape[2:]))].abs()) > 0


def test_the_cost_is_linear_in_the_pixels() -> None:
    """Four times the pixels are four times the multiplications, not sixteen."""
    from torch.utils.flop_counter import FlopCounterMode

    net, counts = state_space.state_space_net(3, 2, width=8).eval(), []
    for size in (64, 128):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(torch.zeros(1, 3, size, size))
        counts.append(counter.get_total_flops())
    assert counts[1] == pytest.approx(4 * counts[0], rel=0.01)

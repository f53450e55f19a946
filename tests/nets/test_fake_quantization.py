"""Fake quantization: what is rounded, how far, and with which gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from autoopt.nets import clipping  # noqa: E402
from autoopt.nets.fake_quantization import fake_quantized  # noqa: E402
from autoopt.nets.files import read_net  # noqa: E402
from tests import tiny  # noqa: E402


def test_afterwards_the_network_is_in_float_again(tmp_path: Path) -> None:
    """Inside the block layers round, gradients pass; afterwards the names and kinds of the weights are as before."""
    student = read_net(tiny.workload(), tiny.weights(tmp_path / "w.safetensors"))
    batch = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 3, 16, 16))).float()
    names, whole = list(student.state_dict()), student(batch)
    with fake_quantized(student):
        rounded = student(batch)
        student.requires_grad_(True)
        student(batch).sum().backward()
        grads = [item.grad for item in student.parameters()]
    student.requires_grad_(False)
    assert 0 < float((rounded - whole).abs().max()) < 0.2
    assert all(grad is not None for grad in grads) and any(float(grad.abs().max()) > 0 for grad in grads)
    assert sorted(student.state_dict()) == sorted(names)
    assert torch.equal(student(batch), whole)


@given(seed=st.integers(0, 50), shift=st.floats(-3, 3))
def test_rounding_is_to_a_step_of_the_range(seed: int, shift: float) -> None:
    """An input is moved by at most half a step of 255 in its range, which has zero in it; a weight by half of 63."""
    random = torch.Generator().manual_seed(seed)
    layer = torch.nn.Linear(6, 4, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.randn(4, 6, generator=random))
    given_to: list[torch.Tensor] = []
    weight, value = layer.weight.detach().clone(), torch.randn(5, 6, generator=random) + shift
    with fake_quantized(layer):
        layer.register_forward_pre_hook(lambda module, inputs: given_to.append(inputs[0]))
        layer(value)
        step = weight.abs().amax(dim=1, keepdim=True) / 63
        assert bool(((layer.weight.detach() - weight).abs() <= step / 2 + 1e-6).all())
    reach = max(float(value.max()), 0.0) - min(float(value.min()), 0.0)
    assert float((given_to[0] - value).abs().max()) <= reach / 255 + 1e-6


def test_an_outlier_answers_for_the_steps_of_all() -> None:
    """The largest input sets the size of a step: what the others lose by that is its gradient."""
    value = torch.tensor([[0.3, 0.1, 0.2, 40.0]], requires_grad=True)
    with fake_quantized(layer := torch.nn.SiLU()):
        given_to: list[torch.Tensor] = []
        layer.register_forward_pre_hook(lambda module, inputs: given_to.append(inputs[0]))
        layer(value)
    (gradient,) = torch.autograd.grad(given_to[0].sum(), value)
    step = 40.0 / 255
    lost = sum(round(item / step) - item / step for item in (0.3, 0.1, 0.2)) / 255
    assert gradient[0].tolist() == pytest.approx([1.0, 1.0, 1.0, 1.0 + lost], abs=1e-5) and abs(lost) > 1e-4


def test_ranges_grow_at_once_and_shrink_slowly() -> None:
    """A value that was in range stays so for a while: a quantizer counts the largest it has seen."""
    given_to: list[torch.Tensor] = []
    with fake_quantized(layer := torch.nn.SiLU()):
        layer.register_forward_pre_hook(lambda module, inputs: given_to.append(inputs[0]))
        for largest in (10.0, 1000.0, 10.0):
            layer(torch.tensor([0.5, largest]))
        assert [round(float(item[0]), 1) for item in given_to] == [0.5, 0.0, 0.0]
        assert float(given_to[1][1]) == pytest.approx(1000.0)
        for _ in range(200):
            layer(torch.tensor([0.5, 10.0]))
    assert float(given_to[-1][0]) == pytest.approx(0.5, abs=0.05)


def test_what_a_quantizer_computes_within_a_layer_is_not_rounded() -> None:
    """Norms and ReLU are given what they are given, outliers or not."""
    parts, image = torch.nn.Sequential(torch.nn.BatchNorm2d(1), torch.nn.ReLU()).eval(), torch.rand(1, 1, 2, 2)
    image[0, 0, 0, 0] = 1000.0
    whole = parts(image)
    with fake_quantized(parts):
        assert torch.equal(parts(image), whole)


def test_a_learnt_range_is_cut_off_and_stays_in_the_network() -> None:
    """An input beyond the range moves its end, not itself; a smaller range is a bound of the network afterwards."""
    layer = torch.nn.Linear(2, 1, bias=False)
    model = torch.nn.Sequential(layer)
    names, value = list(model.state_dict()), torch.tensor([[1.0, 8.0]], requires_grad=True)
    with fake_quantized(model) as ranges:
        model(torch.tensor([[0.5, 4.0]]))
        ranges.learn()
        model(value).sum().backward()
        numbers = layer.get_parameter("learnt_range")
        assert value.grad is not None and numbers.grad is not None
        assert float(value.grad[0, 1]) == 0.0 and float(value.grad[0, 0]) != 0.0
        assert float(numbers.grad[1]) != 0.0 and float(numbers.grad[0]) == 0.0
        with torch.no_grad():
            numbers[1] = np.log(0.5) / 20  # half of what was seen
    assert list(model.state_dict()) == names
    assert clipping.specs(model) == {"0": [0.0, pytest.approx(2.0, abs=1e-4)]}
    assert torch.equal(model(torch.tensor([[1.0, 8.0]])), model(torch.tensor([[1.0, 2.0]])).clone())

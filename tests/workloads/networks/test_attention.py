"""Networks that attend: the right shapes, all of the image in every answer, and known as such by the quantizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoopt.inference.formats import onnx as onnx_format
from autoopt.workloads.networks import attention

torch = pytest.importorskip("torch")
pytest.importorskip("monai")


@pytest.fixture(scope="module")
def linear() -> torch.nn.Module:
    torch.manual_seed(0)
    return attention.linear_unet(3, 2, width=8).eval()


def test_linear_attention_sees_the_whole_image(linear: torch.nn.Module) -> None:
    """A change in one corner reaches the answer in the other one, which no convolution of this depth would let it."""
    image = torch.zeros(1, 3, 256, 256)
    changed = image.clone()
    changed[..., :8, :8] = 5.0
    with torch.no_grad():
        difference = (linear(image) - linear(changed)).abs()
    assert difference.shape == (1, 2, 256, 256)
    assert float(difference[..., -8:, -8:].max()) > 1e-6


def test_linear_attention_is_linear_in_the_pixels(linear: torch.nn.Module) -> None:
    """Four times the pixels are four times the multiplications, not sixteen."""
    from torch.utils.flop_counter import FlopCounterMode

    counts = []
    for size in (64, 128):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            linear(torch.zeros(1, 3, size, size))
        counts.append(counter.get_total_flops())
    assert counts[1] == pytest.approx(4 * counts[0], rel=0.01)


@pytest.mark.parametrize("size", [32, 56, 30])
def test_linear_unet_takes_every_size(linear: torch.nn.Module, size: int) -> None:
    """Sizes that halving makes odd, such as a quarter of 224 in a training, come out as they went in."""
    assert linear(torch.zeros(1, 3, size, size)).shape == (1, 2, size, size)


def test_the_quantizer_knows_transformers(tmp_path: Path, linear: torch.nn.Module) -> None:
    """A softmax whose weights enter a product marks a transformer; linear attention has none."""
    found = {}
    for name, net, shape in (
        ("vit", attention.vit(3, 2, (32, 32)), (1, 3, 32, 32)),
        ("linear", linear, (1, 3, 32, 32)),
    ):
        program = torch.onnx.export(net.eval(), (torch.zeros(shape),), dynamo=True, verbose=False)
        onnx_format.name_nodes(program.model)
        (tmp_path / name).mkdir()
        program.save(tmp_path / name / onnx_format.FILE)
        found[name] = onnx_format.attends(onnx_format.read(tmp_path / name))
    assert found == {"vit": True, "linear": False}


def test_swin_unetr_keeps_the_shape() -> None:
    """The 3D transformer maps a volume to one value per label and voxel."""
    with torch.no_grad():
        answer = attention.swin_unetr(1, 2, 3).eval()(torch.zeros(1, 1, 64, 32, 32))
    assert answer.shape == (1, 2, 64, 32, 32) and bool(np.isfinite(answer.numpy()).all())

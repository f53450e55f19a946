"""The classic U-Net."""

from __future__ import annotations

import pytest

from autoopt.workloads.networks.unet import DIVISOR, build_unet


def test_widths_and_shapes() -> None:
    """The output is as large as the input for sizes that are multiples of the divisor; widths double five times."""
    torch = pytest.importorskip("torch")
    net = build_unet(3, 4, 4).eval()
    with torch.inference_mode():
        assert tuple(net(torch.zeros(1, 3, 2 * DIVISOR, DIVISOR)).shape) == (1, 4, 2 * DIVISOR, DIVISOR)
    assert net.last.in_channels == 4 and net.down[-1][0].out_channels == 64

"""The residual U-Net of the published brain extraction study."""

from __future__ import annotations

import pytest

from autoopt.workloads.networks.resunet import build_resunet


def test_the_net_is_the_published_one() -> None:
    """Width 16 has 8.29 million parameters, width 8 a quarter; sizes divisible by 16 work in 3D and 2D."""
    torch = pytest.importorskip("torch")
    counts = {width: sum(p.numel() for p in build_resunet(1, 2, width).parameters()) for width in (8, 16)}

    assert counts == {8: 2_074_322, 16: 8_289_954}
    with torch.inference_mode():
        assert tuple(build_resunet(1, 2, 2)(torch.zeros(1, 1, 32, 48, 16)).shape) == (1, 2, 32, 48, 16)
        assert tuple(build_resunet(3, 4, 2, spatial_dims=2)(torch.zeros(1, 3, 32, 48)).shape) == (1, 4, 32, 48)

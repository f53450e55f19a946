"""Classification networks: sizes and shapes."""

from __future__ import annotations

import pytest

from autoopt.workloads.networks import classifiers


@pytest.mark.parametrize(
    ("name", "millions"), [("vgg11", 9.2), ("densenet121", 7.0), ("efficientnet_b0", 4.0), ("small_cnn", 0.3)]
)
def test_sizes_and_shapes(name: str, millions: float) -> None:
    """Every network has the number of parameters that is documented, and answers a picture of any size."""
    torch = pytest.importorskip("torch")
    net = getattr(classifiers, name)(3).eval()
    assert sum(item.numel() for item in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)
    with torch.inference_mode():
        for size in (64, 96):
            assert tuple(net(torch.zeros(1, 3, size, size)).shape) == (1, 3)

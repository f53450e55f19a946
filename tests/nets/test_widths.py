"""Widths that a network keeps as a number."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from autoopt.nets.surgery import cut, set_weight  # noqa: E402
from autoopt.nets.widths import remember  # noqa: E402
from tests.nets.stand_ins import WIDTH, VisionTransformer  # noqa: E402


def test_a_width_follows_its_weight() -> None:
    """The number is the size of the axis that it stands for, whatever cut that; of no known class nothing changes."""
    model = VisionTransformer()
    set_weight(model, "class_token", model.class_token[..., :7])
    remember(model)
    assert model.hidden_dim == 7
    plain = torch.nn.Linear(3, 4)
    before = dict(vars(plain))
    remember(plain)
    assert vars(plain) == before


def test_a_list_keeps_its_other_sizes() -> None:
    """Of a shape only the last place changes, and a network that was not cut remembers what it did."""
    from monai.networks.nets import UNETR

    model = UNETR(1, 2, (32, 32), spatial_dims=2, feature_size=4, hidden_size=WIDTH, mlp_dim=8, num_heads=2)
    cut(model, {}, [])
    assert model.proj_view_shape == [2, 2, WIDTH]
    set_weight(model.decoder5.transp_conv.conv, "weight", model.decoder5.transp_conv.conv.weight[:9])
    remember(model)
    assert model.proj_view_shape == [2, 2, 9]

"""Attention heads as units."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from monai.networks.blocks.selfattention import SABlock  # noqa: E402

from autoopt.nets.heads import head_groups, kind_of  # noqa: E402
from autoopt.nets.surgery import cut  # noqa: E402


def test_a_head_is_its_queries_keys_values_and_what_it_gives() -> None:
    """A unit has the rows of one head in queries, keys and values, and its columns in the projection."""
    model = torch.nn.Sequential(SABlock(12, 3))
    (group,) = head_groups(model)
    assert (group.heads, len(group)) == ("0", 3)
    assert dict(zip(group.axes, group.members[1], strict=True)) == {
        ("0.qkv.weight", 0): (4, 5, 6, 7, 16, 17, 18, 19, 28, 29, 30, 31),
        ("0.out_proj.weight", 1): (4, 5, 6, 7),
    }


def test_fewer_heads_answer_as_if_the_others_were_zero() -> None:
    """A head whose columns in the projection are zero can be removed without a change of the answer."""
    torch.manual_seed(0)
    model, tokens = torch.nn.Sequential(SABlock(12, 3)).eval(), torch.randn(2, 5, 12)
    with torch.no_grad():
        model[0].out_proj.weight[:, 4:8] = 0
        expected = model(tokens)
        cut(model, {0: [1]}, head_groups(model))
        assert model[0].num_heads == 2
        torch.testing.assert_close(model(tokens), expected)


def test_other_layers_have_no_heads() -> None:
    """A layer that is not listed is no attention layer."""
    assert kind_of(torch.nn.Linear(2, 2)) is None and head_groups(torch.nn.Linear(2, 2)) == []

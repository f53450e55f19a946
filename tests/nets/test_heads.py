"""Attention heads as units."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("monai")

from monai.networks.blocks.selfattention import SABlock  # noqa: E402

from autoopt.errors import Unsupported  # noqa: E402
from autoopt.nets.heads import head_groups, kind_of  # noqa: E402
from autoopt.nets.surgery import cut, removable  # noqa: E402
from tests.nets.stand_ins import WIDTH, SmpReduced, TimmAttention, stands_for  # noqa: E402


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


def test_the_places_of_a_single_head_are_units() -> None:
    """One head cannot go; its places can, the same of queries, keys and values: the answer is that with zeros there."""
    torch.manual_seed(0)
    model, tokens = torch.nn.Sequential(SmpReduced(1, 1)).eval(), torch.randn(2, 16, WIDTH)
    (group,) = head_groups(model)
    assert group.heads is None and len(group) == WIDTH
    assert dict(zip(group.axes, group.members[2], strict=True))["0.kv.weight", 0] == (2, WIDTH + 2)
    with torch.no_grad():
        model[0].q.weight[2], model[0].q.bias[2], model[0].proj.weight[:, 2] = 0, 0, 0
        expected = model[0](tokens, 4, 4)
        cut(model, {0: [2]}, [group])
        torch.testing.assert_close(model[0](tokens, 4, 4), expected)


def test_a_layer_with_code_of_its_own_is_not_known() -> None:
    """A class that derives from a known one and answers otherwise is left alone; so is a layer with unknown parts."""

    class Twice(TimmAttention):
        def forward(self, x: torch.Tensor, attn_mask: torch.Tensor | None = None) -> torch.Tensor:
            return 2 * super().forward(x, attn_mask)

    class Named(TimmAttention):
        pass

    assert kind_of(Twice()) is None and kind_of(Named()) is not None
    assert kind_of(torch.nn.MultiheadAttention(4, 2, add_bias_kv=True)) is None
    odd = torch.nn.Sequential(TimmAttention())
    odd[0].norm = torch.nn.Conv1d(1, 1, 1)
    assert head_groups(odd) == []


def test_another_version_of_a_library_is_noticed() -> None:
    """Where the layer of a known name does not do what our code does, nothing is cut and the difference is said."""
    torch.manual_seed(0)

    @stands_for("timm.layers.attention.Attention")
    class Scaled(TimmAttention):
        def forward(self, x: torch.Tensor, attn_mask: torch.Tensor | None = None) -> torch.Tensor:
            return 2 * super().forward(x, attn_mask)

    with pytest.raises(Unsupported, match="attention layers of the network must do what"):
        removable(torch.nn.Sequential(Scaled()).eval(), torch.randn(1, 16, WIDTH))

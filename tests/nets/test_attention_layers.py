"""Our code of attention layers answers as the layers do.

Whole networks of stand-ins are cut in tests/nets/test_surgery.py; before anything is cut, the answers of a network are
compared with those of its own code, so another version of a library is noticed (tests/nets/test_heads.py).
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from autoopt.nets.heads import refit  # noqa: E402

N, QUERIES, KEYS, WIDTH, HEADS = 2, 5, 7, 12, 3
PADDED = torch.arange(KEYS) >= torch.tensor([[5], [KEYS]])
CAUSAL = torch.triu(torch.ones(QUERIES, KEYS, dtype=torch.bool), 3)

CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "tokens first": ({}, {}),
    "batch first": ({"batch_first": True}, {}),
    "without weights": ({"batch_first": True}, {"need_weights": False}),
    "weights of each head": ({}, {"average_attn_weights": False}),
    "without biases": ({"bias": False}, {}),
    "keys of other widths": ({"kdim": 4, "vdim": 6}, {}),
    "padding": ({"batch_first": True}, {"key_padding_mask": PADDED}),
    "a mask for all": ({}, {"attn_mask": CAUSAL, "need_weights": False}),
    "a mask for each head": ({}, {"attn_mask": torch.linspace(-2, 0, N * HEADS * 35).reshape(-1, QUERIES, KEYS)}),
    "both masks": ({"batch_first": True}, {"attn_mask": CAUSAL, "key_padding_mask": PADDED, "need_weights": False}),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("batched", [True, False], ids=["", "of one item"])
def test_torch_multihead_answers_as_torch(case: str, *, batched: bool) -> None:
    """Whatever torch's layer takes (orders, masks, widths, one item), ours gives the same answer and weights."""
    built, called = CASES[case]
    if not batched:
        called = {key: mask[:1] if key == "key_padding_mask" else mask for key, mask in called.items()}
        called = {key: mask[:HEADS] if case == "a mask for each head" else mask for key, mask in called.items()}
        called = {key: mask[0] if key == "key_padding_mask" else mask for key, mask in called.items()}
    torch.manual_seed(0)
    layer = torch.nn.MultiheadAttention(WIDTH, HEADS, **built).eval().double()
    inputs = [
        torch.randn(*((N,) if batched else ()), count, width, dtype=torch.float64)
        for count, width in ((QUERIES, WIDTH), (KEYS, built.get("kdim", WIDTH)), (KEYS, built.get("vdim", WIDTH)))
    ]
    if batched and not built.get("batch_first"):
        inputs = [item.transpose(0, 1) for item in inputs]
    called = {
        key: mask.double() if key == "attn_mask" and mask.is_floating_point() else mask for key, mask in called.items()
    }
    expected = layer(*inputs, **called)
    ours = copy.deepcopy(layer)
    refit(ours, HEADS)
    got = ours(*inputs, **called)
    torch.testing.assert_close(got[0], expected[0])
    if called.get("need_weights", True):
        torch.testing.assert_close(got[1], expected[1])
    else:
        assert got[1] is None


def test_an_encoder_of_torch_does_not_pass_by() -> None:
    """torch's encoder layer has a fast path of its own: with our code inside it answers the same, also with padding."""
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True)
    encoder = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval().requires_grad_(False)
    tokens, padded = torch.randn(N, KEYS, WIDTH), PADDED
    expected = encoder(tokens, src_key_padding_mask=padded)
    for layer in encoder.layers:
        refit(layer.self_attn, 2)
    got = encoder(tokens, src_key_padding_mask=padded)
    torch.testing.assert_close(got[~padded], expected[~padded])

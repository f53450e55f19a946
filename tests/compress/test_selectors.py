"""Selectors: users name layers, graphs get exact node names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.compress.selectors import canonical, select
from autoopt.errors import Unsupported
from autoopt.inference.formats.names import Node

NODES = [
    Node(("a.conv/Conv/WithoutBiases", "a.conv/Conv"), ("a.conv/Conv",), ("Conv", "Convolution", "GroupConvolution")),
    Node(("up/ConvTranspose",), ("up/ConvTranspose",), ("ConvTranspose", "ConvolutionBackpropData")),
    Node(("head/Conv/WithoutBiases", "output"), ("head/Conv", "output"), ("Conv", "Convolution", "GroupConvolution")),
    Node(("a.act/Relu",), ("a.act/Relu",), ("Relu",)),
]
FIRST, HEAD = list(NODES[0].names), list(NODES[2].names)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, []),
        ("a.conv/Conv", FIRST),
        ("a.conv", FIRST),
        ("name:output", HEAD),
        ("name:head/Conv/WithoutBiases", HEAD),
        ("pattern:a[.].*", [*FIRST, "a.act/Relu"]),
        ("type:Conv", [*FIRST, *HEAD]),
        ("type:convolution", [*FIRST, *HEAD]),
        ("type:ConvolutionBackpropData, head", ["up/ConvTranspose", *HEAD]),
        ("end:first, end:last", [*FIRST, *HEAD]),
        ("end:last", HEAD),
    ],
)
def test_selects_by_name_module_pattern_type_and_end(text: str | None, expected: list[str]) -> None:
    """A layer is found by node, module, pattern, type in either vocabulary or its place, its bias included."""
    assert select(text, NODES) == sorted(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a.conw/Conv",
            r"'name:a.conw/Conv' selects no layer.*nearest names are a.conv/Conv.*types Conv, ConvTranspose, Relu",
        ),
        ("type:Dense", r"'type:Dense' selects no layer.*types Conv, ConvTranspose, Relu"),
        ("pattern:conv", r"'pattern:conv' selects no layer"),
        ("pattern:(", r"must be a regular expression"),
        ("end:middle", r"'end:middle' must be end:first or end:last"),
    ],
)
def test_a_selector_without_a_layer_is_refused(text: str, message: str) -> None:
    """What selects nothing is an error that names the selector, the nearest names and the types there are."""
    with pytest.raises(Unsupported, match=message):
        select(text, NODES)


PARTS = st.sampled_from(("a", " a ", "name:a", "name: a", "type:Conv", "pattern:x.*", "", " "))


@given(st.lists(PARTS), st.randoms())
def test_one_spelling(parts: list[str], random: object) -> None:
    """Order, spaces, repetition and the default prefix do not matter; the canonical text is its own canonical text."""
    text = canonical(",".join(parts))
    random.shuffle(parts)  # type: ignore[attr-defined]
    assert canonical(",".join(parts * 2)) == text == canonical(text)

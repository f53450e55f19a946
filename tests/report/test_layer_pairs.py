"""Layers of two profiles that do the same work are paired, and none gets lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.inference.runtimes.layers import Layer
from autoopt.report.layer_pairs import clean_name, family, pair_layers
from tests.report.profiles import conv, norm


def test_fused_layers_are_paired_with_their_parts() -> None:
    """What one trial fuses into a convolution is compared with convolution and activation of the other together."""
    fused = Layer(
        "a.conv/Conv", "Convolution", "k", "i8", 1.0, origins=("a.conv/Conv", "Multiply_12", "a.act/LeakyRelu")
    )
    apart = [
        Layer("a.conv/conv2d", "conv2d", "k", "f32", 2.0),
        Layer("a.act/leaky_relu_", "leaky_relu_", "k", "f32", 0.5),
    ]
    other = Layer("Multiply_12", "Eltwise", "k", "f32", 9.0)  # a counted name is no name: it means something else here
    first, second = pair_layers([fused], [*apart, other])
    assert (first.mine, first.theirs, first.name) == ((fused,), tuple(apart), "a.conv/Conv")
    assert (first.mine_s, first.theirs_s) == (1.0, 2.5)
    assert (second.matched, second.theirs) == (False, (other,))


def test_layers_without_shared_names_are_paired_in_order() -> None:
    """Convolutions of equal number are paired one by one; an operation that one trial has more of stays alone."""
    mine = [conv(0, 1, "i8"), conv(1, 2, "i8"), norm(0, 1)]
    theirs = [Layer(f"leaky_relu_{index}_nchwc", "FusedConv", "k", "f32", 1.0) for index in range(2)]
    pairs = pair_layers(mine, theirs)
    assert [(len(pair.mine), len(pair.theirs)) for pair in pairs] == [(1, 1), (1, 1), (1, 0)]
    assert pairs[1].theirs == (theirs[1],)


@given(
    st.lists(
        st.lists(st.sampled_from(["a/Conv", "b/Conv", "c/Relu", "Add_1", "d/MVN"]), min_size=1, max_size=3), max_size=6
    ),
    st.lists(st.lists(st.sampled_from(["a/Conv", "b/Conv", "e/Relu", "Add_2"]), min_size=1, max_size=3), max_size=6),
)
def test_every_layer_is_in_one_pair(mine: list[list[str]], theirs: list[list[str]]) -> None:
    """Pairing loses no layer and no time, whatever shares names with whatever."""
    sides = [
        [
            Layer(f"{side}{index}", names[0].split("/")[-1], "k", "f32", 2.0**-index, origins=tuple(names))
            for index, names in enumerate(lists)
        ]
        for side, lists in (("m", mine), ("t", theirs))
    ]
    pairs = pair_layers(*sides)
    assert sorted(layer.name for pair in pairs for layer in (*pair.mine, *pair.theirs)) == sorted(
        layer.name for layers in sides for layer in layers
    )
    assert sum(pair.mine_s for pair in pairs) == pytest.approx(sum(layer.seconds for layer in sides[0]))


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (("Conv", "FusedConv", "Convolution", "GroupConvolution", "conv2d", "conv3d", "QLinearConv"), "Conv"),
        (("ConvTranspose", "ConvolutionBackpropData", "conv_transpose2d"), "ConvTranspose"),
        (("Gemm", "MatMul", "FullyConnected", "linear", "addmm"), "Gemm"),
        (("LeakyRelu", "leaky_relu_", "PRelu"), "LeakyRelu"),
        (("InstanceNormalization", "MVN"), "InstanceNormalization"),
    ],
)
def test_operations_have_one_name(kinds: tuple[str, ...], expected: str) -> None:
    """What libraries call the same operation is one family."""
    assert {family(kind) for kind in kinds} == {expected}


def test_names_lose_what_libraries_append() -> None:
    """Suffixes of libraries go from names, so that they name the same layer in every runtime."""
    assert clean_name("a.conv/Conv/WithoutBiases") == "a.conv/Conv"
    assert clean_name("a.conv/Conv_nchwc") == "a.conv/Conv"

"""What layers do to channels: convolutions, products, norms, pools, reductions. Each operation is one function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from autoopt.nets.channel_sets import Axes, ChannelSets, argument, nodes_in, shape_of
from autoopt.nets.rule_table import rule


@rule("conv1d", "conv2d", "conv3d", "convolution")
def _convolution(sets: ChannelSets, node: Any) -> Axes:
    x, weight, bias = (argument(node, place, name) for place, name in enumerate(("input", "weight", "bias")))
    named = node.target._schema.name.endswith("convolution")
    transposed = bool(argument(node, 6, "transposed", False)) if named else False
    return _convolved(sets, x, weight, bias, int(argument(node, 8 if named else 6, "groups", 1)), transposed)


@rule("conv_transpose1d", "conv_transpose2d", "conv_transpose3d")
def _transposed(sets: ChannelSets, node: Any) -> Axes:
    x, weight, bias = (argument(node, place, name) for place, name in enumerate(("input", "weight", "bias")))
    return _convolved(sets, x, weight, bias, int(argument(node, 6, "groups", 1)), transposed=True)


def _convolved(sets: ChannelSets, x: Any, weight: Any, bias: Any, parts: int, transposed: bool) -> Axes:
    image, axes = sets.of(x), sets.of(weight)
    sets.keep(axes[2:])
    channels = axes[0] if transposed else axes[1]  # of the input
    made = axes[1] if transposed else axes[0]
    if 1 < parts == shape_of(x)[1]:
        sets.keep([axes[1]])
        own = sets.join(image[1], channels) if transposed else image[1]  # each channel has its own filters
        many = shape_of(weight)[1] if transposed else shape_of(weight)[0] // parts
        beside = None if own is None else np.repeat(own, many)  # and what it makes stands side by side
        made = beside if transposed else sets.join(beside, made)
    elif parts > 1 and transposed:
        sets.tie(sets.join(image[1], channels), parts)
        made = None if made is None else np.tile(made, parts)  # each group makes the same places
    elif parts > 1:
        sets.join(sets.tie(image[1], parts), channels)
        sets.tie(made, parts)
    else:
        sets.join(image[1], channels)
    if bias is not None:
        made = sets.join(made, sets.of(bias)[0])
    return [None, made, *[None] * (len(axes) - 2)]


@rule("linear")
def _linear(sets: ChannelSets, node: Any) -> Axes:
    x, weight, bias = (argument(node, place, name) for place, name in enumerate(("input", "weight", "bias")))
    *rest, last = sets.of(x)
    made, channels = sets.of(weight)
    sets.join(last, channels)
    if bias is not None:
        made = sets.join(made, sets.of(bias)[0])
    return [*rest, made]


@rule("matmul", "mm", "bmm")
def _product(sets: ChannelSets, node: Any) -> Axes | None:
    first, second = sets.of(node.args[0]), sets.of(node.args[1])
    if len(first) > 2 == len(second):  # tokens times a matrix
        sets.join(first[-1], second[0])
        return [*first[:-1], second[1]]
    if len(first) < 2 or len(first) != len(second):
        return None
    sets.join(first[-1], second[-2])
    batches = [sets.join(a, b) for a, b in zip(first[:-2], second[:-2], strict=True)]  # of unequal sizes, all are kept
    return [*batches, first[-2], second[-1]]


@rule("einsum")
def _einsum(sets: ChannelSets, node: Any) -> Axes | None:
    equation, operands = str(node.args[0]).replace(" ", ""), node.args[1]
    inputs, arrow, output = equation.partition("->")
    if not arrow or "." in equation:
        return None
    letters: dict[str, np.ndarray | None] = {}
    for names, operand in zip(inputs.split(","), operands, strict=True):
        for letter, axis in zip(names, sets.of(operand), strict=True):
            letters[letter] = sets.join(letters[letter], axis) if letter in letters else axis
    return [letters[letter] for letter in output]


@rule("scaled_dot_product_attention")
def _attention(sets: ChannelSets, node: Any) -> Axes:
    query, key, value = (sets.of(node.args[place]) for place in range(3))
    for a, b in zip(query[:-2], key[:-2], strict=True):
        sets.join(a, b)
    sets.join(query[-1], key[-1])
    if node.kwargs.get("scale") is None:  # then it is one over the root of their number
        sets.keep([query[-1]])
    heads = [sets.join(a, b) for a, b in zip(query[:-2], value[:-2], strict=True)]
    for item in nodes_in((node.args[3:], node.kwargs)):
        sets.keep(sets.of(item))
    return [*heads, query[-2], value[-1]]


@rule("batch_norm", "instance_norm")
def _norm_of_channels(sets: ChannelSets, node: Any) -> Axes:
    image = sets.of(node.args[0])
    channels = image[1]
    for item in nodes_in(node.args[1:]):
        channels = sets.join(channels, sets.of(item)[0])
    return [image[0], channels, *image[2:]]


@rule("group_norm")
def _group_norm(sets: ChannelSets, node: Any) -> Axes:
    image, parts = sets.of(node.args[0]), int(node.args[1])
    channels = image[1]
    for item in nodes_in((node.args[2:], node.kwargs)):
        channels = sets.join(channels, sets.of(item)[0])
    if 1 < parts < shape_of(node.args[0])[1]:
        sets.tie(channels, parts)
    return [image[0], channels, *image[2:]]


@rule("layer_norm", "rms_norm")
def _layer_norm(sets: ChannelSets, node: Any) -> Axes:
    result = list(sets.of(node.args[0]))
    normalised = len(node.args[1])
    for item in nodes_in((node.args[2:], node.kwargs)):
        for place, axis in enumerate(sets.of(item), start=len(result) - normalised):
            result[place] = sets.join(result[place], axis)
    return result


@rule("prelu")
def _prelu(sets: ChannelSets, node: Any) -> Axes:
    result, slopes = list(sets.of(node.args[0])), node.args[1]
    if shape_of(slopes) == (1,):  # one for all channels
        sets.keep(sets.of(slopes))
    else:
        result[1] = sets.join(result[1], sets.of(slopes)[0])
    return result


@rule("glu")
def _gated(sets: ChannelSets, node: Any) -> Axes:
    """One half of an axis gates the other: both lose the same places."""
    axes = list(sets.of(node.args[0]))
    place = int(argument(node, 1, "dim", -1)) % len(axes)
    axes[place] = sets.tie(axes[place], 2)
    return axes


@rule("max_unpool2d", "max_unpool3d")
def _unpooled(sets: ChannelSets, node: Any) -> Axes:
    image, indices = sets.of(node.args[0]), sets.of(node.args[1])
    return [image[0], sets.join(image[1], indices[1]), *[None] * (len(image) - 2)]


@rule(
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "upsample_nearest1d",
    "upsample_nearest2d",
    "upsample_nearest3d",
    "upsample_linear1d",
    "upsample_bilinear2d",
    "upsample_bicubic2d",
    "upsample_trilinear3d",
    "_upsample_bilinear2d_aa",
    "_upsample_bicubic2d_aa",
    "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d",
    "_upsample_nearest_exact3d",
    "max_pool2d_with_indices",
    "max_pool3d_with_indices",
)
def _pooled(sets: ChannelSets, node: Any) -> Any:
    image = sets.of(node.args[0])
    axes: Axes = [image[0], image[1], *[None] * (len(image) - 2)]
    return [axes, list(axes)] if isinstance(node.meta["val"], list | tuple) else axes


@rule(
    "mean",
    "nanmean",
    "sum",
    "amax",
    "amin",
    "var",
    "std",
    "var_mean",
    "std_mean",
    "logsumexp",
    "max",
    "min",
    "median",
    "norm",
    "linalg_vector_norm",
)
def _reduced(sets: ChannelSets, node: Any) -> Any:
    """The axes that are not reduced stay; of two results, such as values and their places, both have them."""
    several = isinstance(node.meta["val"], list | tuple)
    if len(node.args) < 2 or isinstance(node.args[1], bool) or nodes_in((node.args[1],)):
        return None
    axes = list(sets.of(node.args[0]))
    name = node.target._schema.name
    dims = argument(node, 2 if name.endswith("norm") else 1, "dim")
    dims = [dims] if isinstance(dims, int) else dims
    if not isinstance(dims, Sequence):
        return None
    places = {place % len(axes) for place in dims}
    kept = (node.meta["val"][0] if several else node.meta["val"]).dim() == len(axes)
    left = [None if i in places else axis for i, axis in enumerate(axes) if kept or i not in places]
    return [list(left) for _ in node.meta["val"]] if several else left


@rule(
    "softmax",
    "log_softmax",
    "_softmax",
    "dropout",
    "feature_dropout",
    "alpha_dropout",
    "contiguous",
    "clone",
    "to",
    "_to_copy",
    "alias",
    "detach",
    "lift_fresh_copy",
    "type_as",
    "cumsum",
    "zeros_like",
    "ones_like",
    "full_like",
    "empty_like",
    "rand_like",
    "randn_like",
)
def _same(sets: ChannelSets, node: Any) -> Any:
    return list(sets.of(node.args[0]))


@rule("_assert_tensor_metadata", "_assert_async")
def _checked(sets: ChannelSets, node: Any) -> Axes:
    """What `torch.export` writes beside a cast gives nothing on."""
    return []

"""What each operation of an exported graph does to channels: one function for an operation, entered in `RULES`.

A rule takes the channel sets and a node of the graph, joins or keeps channels, and returns the axes of the result; it
returns None where all channels of the arguments must be kept. An operation that has no rule and is not pointwise keeps
all channels of its arguments.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from autoopt.nets.channel_sets import KEPT, Axes, ChannelSets, argument, free, nodes_in, shape_of

Rule = Callable[[ChannelSets, Any], Any]
RULES: dict[str, Rule] = {}
"""Name of an ATen operation, without the underscore of the in-place variant, to its rule."""


def called(sets: ChannelSets, node: Any) -> Any:
    """The axes of the result of an operation, after its rule joined or kept the channels of its arguments."""
    known = _rule_of(node.target)
    axes = None if known is None else known(sets, node)
    if axes is None:
        for item in nodes_in((node.args, node.kwargs)):
            sets.keep(sets.of(item))
        return free(node)
    return axes


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Enter the decorated function in `RULES` under these names."""

    def enter(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return enter


def _rule_of(target: Any) -> Rule | None:
    import torch

    if target is operator.getitem:
        return lambda sets, node: sets.of(node.args[0])[node.args[1]]
    if not isinstance(target, torch._ops.OpOverload):
        return None
    name = target._schema.name.rpartition("::")[2]
    known = RULES.get(name) or RULES.get(name.rstrip("_"))
    return _pointwise if known is None and torch.Tag.pointwise in target.tags else known


def _pointwise(sets: ChannelSets, node: Any) -> Axes:
    """Terms are aligned at their last axis; one of size 1 is repeated."""
    shape = shape_of(node)
    result: Axes = [None] * len(shape)
    seen = [False] * len(shape)
    for item in nodes_in((node.args, node.kwargs)):
        sizes, axes = shape_of(item), sets.of(item)
        for place in range(1, len(sizes) + 1):
            if sizes[-place] != shape[-place]:
                sets.keep([axes[-place]])
            elif seen[-place]:
                result[-place] = sets.join(result[-place], axes[-place])
            else:
                result[-place], seen[-place] = axes[-place], True
    return result


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
    if parts > 1 and parts == shape_of(x)[1] and not transposed and parts == shape_of(weight)[0]:
        sets.keep([axes[1]])
        made = sets.join(image[1], made)  # each channel has its own filter
    elif parts > 1 and transposed:
        sets.tie(sets.join(image[1], channels), parts)
        sets.keep([made])  # each group makes the same number: too many ways to get it wrong
        made = None
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


@rule("layer_norm")
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


@rule("cat", "concat", "concatenate")
def _cat(sets: ChannelSets, node: Any) -> Axes:
    items = [sets.of(item) for item in node.args[0]]
    along = int(argument(node, 1, "dim", 0)) % len(items[0])
    result: Axes = []
    for place in range(len(items[0])):
        axes = [item[place] for item in items]
        if place != along:
            axis = axes[0]
            for other in axes[1:]:
                axis = sets.join(axis, other)
            result.append(axis)
        elif all(axis is None for axis in axes):
            result.append(None)
        else:
            sizes = [shape_of(item)[place] for item in node.args[0]]
            parts = [np.full(n, KEPT) if axis is None else axis for axis, n in zip(axes, sizes, strict=True)]
            result.append(np.concatenate(parts))
    return result


@rule("stack")
def _stack(sets: ChannelSets, node: Any) -> Axes:
    items = [sets.of(item) for item in node.args[0]]
    result = list(items[0])
    for item in items[1:]:
        result = [sets.join(a, b) for a, b in zip(result, item, strict=True)]
    place = int(argument(node, 1, "dim", 0)) % (len(result) + 1)
    return [*result[:place], None, *result[place:]]


@rule("view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as")
def _reshaped(sets: ChannelSets, node: Any) -> Axes:
    """Axes that are merged or split together: what can be removed must still be one axis of the result."""
    before, after = shape_of(node.args[0]), shape_of(node)
    axes = sets.of(node.args[0])
    result: Axes = [None] * len(after)
    for old, new in _blocks(before, after):
        live = [place for place in old if axes[place] is not None and before[place] > 1]
        if len(live) != 1:
            sets.keep([axes[place] for place in old])
            continue
        spread = [1] * len(old)
        spread[old.index(live[0])] = before[live[0]]
        full = np.broadcast_to(axes[live[0]].reshape(spread), [before[place] for place in old])
        full = full.reshape([after[place] for place in new])
        varying = [place for rank, place in enumerate(new) if after[place] > 1 and not _constant_along(full, rank)]
        if len(varying) == 1:
            rank = new.index(varying[0])
            result[varying[0]] = np.moveaxis(full, rank, 0).reshape(after[varying[0]], -1)[:, 0].copy()
        else:
            sets.keep([axes[live[0]]])
    return result


def _constant_along(full: np.ndarray, rank: int) -> bool:
    first = np.take(full, [0], axis=rank)
    return bool((full == first).all())


def _blocks(before: Sequence[int], after: Sequence[int]) -> Iterable[tuple[list[int], list[int]]]:
    """The smallest runs of axes of both shapes that hold the same number of elements."""
    i = j = 0
    while i < len(before) or j < len(after):
        old, new = [i] if i < len(before) else [], [j] if j < len(after) else []
        i, j = i + len(old), j + len(new)
        while math.prod(before[place] for place in old) != math.prod(after[place] for place in new):
            if math.prod(before[place] for place in old) < math.prod(after[place] for place in new):
                old.append(i)
                i += 1
            else:
                new.append(j)
                j += 1
        yield old, new


@rule("permute")
def _permuted(sets: ChannelSets, node: Any) -> Axes:
    axes = sets.of(node.args[0])
    return [axes[place] for place in argument(node, 1, "dims")]


@rule("movedim")
def _moved(sets: ChannelSets, node: Any) -> Axes:
    axes = sets.of(node.args[0])
    moved = np.moveaxis(np.empty(range(1, len(axes) + 1)), node.args[1], node.args[2])  # every size says which axis
    return [axes[size - 1] for size in moved.shape]


@rule("transpose", "swapaxes", "swapdims", "t")
def _transposed_axes(sets: ChannelSets, node: Any) -> Axes:
    axes = list(sets.of(node.args[0]))
    if len(axes) < 2:
        return axes
    first, second = (node.args[1], node.args[2]) if len(node.args) > 2 else (0, 1)
    axes[first], axes[second] = axes[second], axes[first]
    return axes


@rule("expand", "expand_as", "repeat", "tile")
def _repeated(sets: ChannelSets, node: Any) -> Axes:
    before, after = shape_of(node.args[0]), shape_of(node)
    axes = sets.of(node.args[0])
    padded: Axes = [*[None] * (len(after) - len(before)), *axes]
    sizes = [*[1] * (len(after) - len(before)), *before]
    for place, (old, new) in enumerate(zip(sizes, after, strict=True)):
        if old != new:
            sets.keep([padded[place]])
            padded[place] = None
    return padded


@rule("slice", "narrow")
def _sliced(sets: ChannelSets, node: Any) -> Axes:
    return _same_where_whole(sets, node, node.args[0])


@rule("pad", "constant_pad_nd", "roll", "flip")
def _padded(sets: ChannelSets, node: Any) -> Axes | None:
    if node.target._schema.name.endswith(("roll", "flip")):
        places = argument(node, 2 if node.target._schema.name.endswith("roll") else 1, "dims", ())
        axes = sets.of(node.args[0])
        return None if not places or any(axes[place] is not None for place in places) else axes
    return _same_where_whole(sets, node, node.args[0])


def _same_where_whole(sets: ChannelSets, node: Any, item: Any) -> Axes:
    """An axis that keeps its size keeps its channels; one that does not, must keep all of them."""
    result = list(sets.of(item))
    for place, (old, new) in enumerate(zip(shape_of(item), shape_of(node), strict=True)):
        if old != new:
            sets.keep([result[place]])
            result[place] = None
    return result


@rule("select")
def _selected(sets: ChannelSets, node: Any) -> Axes:
    axes = list(sets.of(node.args[0]))
    sets.keep([axes.pop(node.args[1])])
    return axes


@rule("unbind")
def _unbound(sets: ChannelSets, node: Any) -> list[Axes]:
    axes = list(sets.of(node.args[0]))
    sets.keep([axes.pop(argument(node, 1, "dim", 0))])
    return [list(axes) for _ in node.meta["val"]]


@rule("chunk", "split", "split_with_sizes")
def _split(sets: ChannelSets, node: Any) -> list[Axes]:
    """Equal parts lose the same places, so that they are equal parts again."""
    axes = list(sets.of(node.args[0]))
    place = int(argument(node, 2, "dim", 0)) % len(axes)
    parts, whole = node.meta["val"], shape_of(node.args[0])[place]
    sizes = {int(part.shape[place]) for part in parts}
    if axes[place] is not None and len(parts) > 1:
        if sizes != {whole // len(parts)}:
            sets.keep([axes[place]])
        axes[place] = sets.tie(axes[place], len(parts)) if sizes == {whole // len(parts)} else None
    return [list(axes) for _ in parts]


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
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "upsample_nearest1d",
    "upsample_nearest2d",
    "upsample_nearest3d",
    "upsample_linear1d",
    "upsample_bilinear2d",
    "upsample_bicubic2d",
    "upsample_trilinear3d",
    "_upsample_nearest_exact2d",
    "_upsample_nearest_exact3d",
    "max_pool2d_with_indices",
    "max_pool3d_with_indices",
)
def _pooled(sets: ChannelSets, node: Any) -> Any:
    image = sets.of(node.args[0])
    axes: Axes = [image[0], image[1], *[None] * (len(image) - 2)]
    return [axes, list(axes)] if isinstance(node.meta["val"], list | tuple) else axes


@rule("pixel_shuffle")
def _shuffled(sets: ChannelSets, node: Any) -> Axes:
    image, factor = sets.of(node.args[0]), int(node.args[1])
    if image[1] is None:
        return list(image)
    made = image[1].reshape(-1, factor**2)
    for row in made:
        sets.join(np.repeat(row[:1], len(row)), row)
    return [image[0], made[:, 0].copy(), None, None]


@rule("mean", "sum", "amax", "amin", "var", "std", "max", "min", "norm", "linalg_vector_norm")
def _reduced(sets: ChannelSets, node: Any) -> Axes | None:
    if isinstance(node.meta["val"], list | tuple) or len(node.args) < 2:
        return None
    axes = list(sets.of(node.args[0]))
    name = node.target._schema.name
    dims = argument(node, 2 if name.endswith("norm") else 1, "dim")
    dims = [dims] if isinstance(dims, int) else dims
    if not isinstance(dims, Sequence):
        return None
    places = {place % len(axes) for place in dims}
    kept = len(shape_of(node)) == len(axes)
    return [None if i in places else axis for i, axis in enumerate(axes) if kept or i not in places]


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
)
def _same(sets: ChannelSets, node: Any) -> Any:
    return list(sets.of(node.args[0]))

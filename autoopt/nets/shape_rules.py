"""What moving, cutting and joining tensors does to channels: no number changes. Each operation is one function."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from autoopt.nets.channel_sets import KEPT, Axes, ChannelSets, argument, shape_of
from autoopt.nets.rule_table import rule


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


@rule("mT", "adjoint")
def _last_two_swapped(sets: ChannelSets, node: Any) -> Axes:
    axes = sets.of(node.args[0])
    return [*axes[:-2], axes[-1], axes[-2]]


@rule("transpose", "swapaxes", "swapdims", "t")
def _transposed_axes(sets: ChannelSets, node: Any) -> Axes:
    axes = list(sets.of(node.args[0]))
    if len(axes) < 2:
        return axes
    first, second = (node.args[1], node.args[2]) if len(node.args) > 2 else (0, 1)
    axes[first], axes[second] = axes[second], axes[first]
    return axes


@rule("expand", "expand_as", "broadcast_to", "repeat", "tile")
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
    sizes = argument(node, 1, "pad", ())
    if argument(node, 2, "mode", "constant") not in (None, "constant") and node.target._schema.name.endswith("::pad"):
        return _same_where_whole(sets, node, node.args[0])
    result = list(sets.of(node.args[0]))
    for place, (before, after) in enumerate(zip(sizes[::2], sizes[1::2], strict=True), start=1):
        axis = result[-place]
        if axis is not None and (before or after):
            if min(before, after) < 0:
                sets.keep([axis])
            result[-place] = (
                None
                if min(before, after) < 0
                else np.concatenate([np.full(before, KEPT), axis, np.full(after, KEPT)])  # what is put there stays
            )
    return result


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


@rule("index_select")
def _chosen(sets: ChannelSets, node: Any) -> Axes:
    axes = list(sets.of(node.args[0]))
    sets.keep([axes[node.args[1]]])
    axes[node.args[1]] = None
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


@rule("pixel_unshuffle", "im2col")
def _unshuffled(sets: ChannelSets, node: Any) -> Axes:
    """The pixels of a block stand side by side as channels."""
    image, after = sets.of(node.args[0]), shape_of(node)
    many = after[1] // shape_of(node.args[0])[1]
    made = None if image[1] is None else np.repeat(image[1], many)
    return [image[0], made, *[None] * (len(after) - 2)]


@rule("pixel_shuffle")
def _shuffled(sets: ChannelSets, node: Any) -> Axes:
    image, factor = sets.of(node.args[0]), int(node.args[1])
    if image[1] is None:
        return list(image)
    made = image[1].reshape(-1, factor**2)
    for row in made:
        sets.join(np.repeat(row[:1], len(row)), row)
    return [image[0], made[:, 0].copy(), None, None]

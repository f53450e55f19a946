"""Sets of channels that must be removed together, and how the nodes of an exported graph are read.

Pruning follows channels through the graph of a network: an index of an axis of a tensor is a channel, and operations
join channels into sets (rules.py). Axes are numpy arrays of channel numbers.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

KEPT = 0
"""The number of the set whose channels must stay."""

Axes = list["np.ndarray | None"]
"""Of one tensor, by axis: the channel of every index, or None where nothing can be removed."""


class ChannelSets:
    """The channels of all tensors of a graph, joined into sets (union-find)."""

    def __init__(self) -> None:
        self._parents: list[int] = [KEPT]
        self._axes: dict[Any, Any] = {}

    def __setitem__(self, node: Any, axes: Any) -> None:
        self._axes[node] = axes

    def of(self, value: Any) -> Any:
        """The axes of an argument of an operation: a list by axis, of several tensors a list each; [] of no tensor."""
        return self._axes[value] if is_node(value) else []

    def fresh(self, size: int) -> np.ndarray:
        """`size` new channels, each a set of its own."""
        first = len(self._parents)
        self._parents.extend(range(first, first + size))
        return np.arange(first, first + size)

    def root(self, channel: int) -> int:
        """The number of the set that the channel is in: its smallest channel."""
        while self._parents[channel] != channel:
            self._parents[channel] = self._parents[self._parents[channel]]
            channel = self._parents[channel]
        return channel

    def join(self, first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
        """Join two axes channel by channel and return the first.

        Where one is None, or they differ in length, both are kept whole and the result is None.
        """
        if first is None or second is None or len(first) != len(second):
            self.keep([first, second])
            return None
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            a, b = self.root(one), self.root(other)
            self._parents[max(a, b)] = min(a, b)  # KEPT is the smallest of all
        return first

    def keep(self, axes: Any) -> None:
        """Mark all channels of these axes (nested lists of arrays) as not removable."""
        for axis in _arrays(axes):
            for channel in axis.tolist():
                self._parents[self.root(channel)] = KEPT

    def tie(self, axis: np.ndarray | None, parts: int) -> np.ndarray | None:
        """Join the equal `parts` of an axis, so that all lose the same places, and return the first part.

        Where the axis cannot be divided into that many, it is kept whole and the result is None.
        """
        if axis is None or len(axis) % parts:
            self.keep([axis])
            return None
        rows = axis.reshape(parts, -1)
        for row in rows[1:]:
            self.join(rows[0], row)
        return np.asarray(rows[0])


def is_node(value: Any) -> bool:
    """Whether a value is a node of a graph of `torch.export`."""
    return hasattr(value, "meta") and hasattr(value, "op")


def nodes_in(value: Any) -> list[Any]:
    """The nodes among (nested) arguments, in order."""
    if is_node(value):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return list(itertools.chain.from_iterable(map(nodes_in, value))) if isinstance(value, list | tuple) else []


def shape_of(node: Any) -> tuple[int, ...]:
    """The shape of the tensor that a node gives."""
    return tuple(int(size) for size in node.meta["val"].shape)


def free(node: Any) -> Any:
    """Axes for the result of a node of which nothing can be removed."""
    value = node.meta.get("val")
    if isinstance(value, list | tuple):
        return [[None] * item.dim() for item in value]
    return [None] * value.dim() if hasattr(value, "dim") else []


def argument(node: Any, place: int, name: str, default: Any = None) -> Any:
    """The argument of an operation at `place`, or called `name`, else `default`."""
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def _arrays(axes: Any) -> Iterable[np.ndarray]:
    if isinstance(axes, np.ndarray):
        yield axes
    elif axes is not None:
        for item in axes:
            yield from _arrays(item)

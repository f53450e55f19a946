"""Channels of tensors that are the same: what pruning follows through a graph, and how a graph's nodes are read."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

KEPT = 0
"""The atom of all indices that must stay."""

Axes = list["np.ndarray | None"]
"""Of one tensor, an axis each: the atom of every index, or None where nothing can be removed."""


class Atoms:
    """The channels of all tensors of a graph, joined where they are the same (union-find); `of` gives those of one."""

    def __init__(self) -> None:
        self._parents: list[int] = [KEPT]
        self._axes: dict[Any, Any] = {}

    def __setitem__(self, node: Any, axes: Any) -> None:
        self._axes[node] = axes

    def of(self, value: Any) -> Any:
        """The axes of an argument of an operation; of what is not a tensor, none. Several tensors have a list each."""
        return self._axes[value] if is_node(value) else []

    def fresh(self, size: int) -> np.ndarray:
        """`size` channels that nothing is known of."""
        first = len(self._parents)
        self._parents.extend(range(first, first + size))
        return np.arange(first, first + size)

    def root(self, atom: int) -> int:
        """The one atom that stands for all that were joined with this one."""
        while self._parents[atom] != atom:
            self._parents[atom] = self._parents[self._parents[atom]]
            atom = self._parents[atom]
        return atom

    def join(self, first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
        """Both are the same channels. None, or another number of them, keeps the other."""
        if first is None or second is None or len(first) != len(second):
            self.keep([first, second])
            return None
        for one, other in zip(first.tolist(), second.tolist(), strict=True):
            a, b = self.root(one), self.root(other)
            self._parents[max(a, b)] = min(a, b)  # KEPT is the smallest of all
        return first

    def keep(self, axes: Any) -> None:
        """Nothing of these axes may be removed."""
        for axis in _arrays(axes):
            for atom in axis.tolist():
                self._parents[self.root(atom)] = KEPT

    def tie(self, axis: np.ndarray | None, parts: int) -> np.ndarray | None:
        """All of the equal `parts` of an axis lose the same places. What one part has."""
        if axis is None or len(axis) % parts:
            self.keep([axis])
            return None
        rows = axis.reshape(parts, -1)
        for row in rows[1:]:
            self.join(rows[0], row)
        return np.asarray(rows[0])


def is_node(value: Any) -> bool:
    """Whether it is a tensor of the graph."""
    return hasattr(value, "meta") and hasattr(value, "op")


def nodes_in(value: Any) -> list[Any]:
    """The tensors among arguments, in order."""
    if is_node(value):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return list(itertools.chain.from_iterable(map(nodes_in, value))) if isinstance(value, list | tuple) else []


def shape_of(node: Any) -> tuple[int, ...]:
    """The sizes of a tensor of the graph."""
    return tuple(int(size) for size in node.meta["val"].shape)


def free(node: Any) -> Any:
    """Axes of which nothing can be removed, for the result of a node."""
    value = node.meta.get("val")
    if isinstance(value, list | tuple):
        return [[None] * item.dim() for item in value]
    return [None] * value.dim() if hasattr(value, "dim") else []


def argument(node: Any, place: int, name: str, default: Any = None) -> Any:
    """An argument of an operation, given by place or by name."""
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def _arrays(axes: Any) -> Iterable[np.ndarray]:
    if isinstance(axes, np.ndarray):
        yield axes
    elif axes is not None:
        for item in axes:
            yield from _arrays(item)

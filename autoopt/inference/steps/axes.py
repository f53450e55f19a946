"""Turn the axes of an image: into an order, or by its affine into an orientation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from autoopt.core.plain_text import short
from autoopt.inference import grid
from autoopt.inference.steps.base import Item, listed, whole


@dataclass(frozen=True)
class Turned:
    """The way back of axes that were turned."""

    turn: grid.Turn
    interpolates = False

    def labels_there(self, labels: np.ndarray, outside: int) -> np.ndarray:
        """See `Move`."""
        return self.turn.apply(labels)

    def values_back(self, values: np.ndarray, background: np.ndarray) -> np.ndarray:
        """See `Move`."""
        return np.moveaxis(self.turn.undo(np.moveaxis(values, 0, -1)), -1, 0)

    def labels_back(self, labels: np.ndarray) -> np.ndarray:
        """See `Move`."""
        return self.turn.undo(labels)


def _turned(item: Item, turn: grid.Turn) -> tuple[Item, Turned]:
    affine = None if item.affine is None else grid.turned_affine(turn, item.affine, item.sizes)
    mask = None if item.mask is None else turn.apply(item.mask)
    return replace(item, values=turn.apply(item.values), affine=affine, mask=mask), Turned(turn)


@dataclass(frozen=True)
class Axes:
    """The axes of an image in another order: axis i of the result is axis `order[i]` of the image, a stack's too."""

    order: tuple[int, ...]

    needs_affine = False
    needs_scipy = False
    keeps_pixels = True

    def problems(self, plane: int, stack: int, channels: int) -> Iterator[str]:
        """See `Step`."""
        count = plane + stack
        if not listed(self.order, whole) or sorted(self.order) != list(range(count)):
            yield f"order must have each of the axes 0 to {count - 1} once, got {short(self.order)}"

    def apply(self, item: Item) -> tuple[Item, Turned]:
        """See `Step`."""
        turn = grid.Turn(self.order, (False,) * len(self.order))
        if item.affine is None or len(self.order) == len(item.affine) - 1:
            return _turned(item, turn)
        after, move = _turned(replace(item, affine=None), turn)  # a picture: its affine, if any, is none of its axes'
        return replace(after, affine=item.affine), move


@dataclass(frozen=True)
class Orient:
    """The axes of a volume turned to the orientation `to`, such as RAS, by its affine; nothing is interpolated."""

    to: str

    needs_affine = True
    needs_scipy = False
    keeps_pixels = False

    def problems(self, plane: int, stack: int, channels: int) -> Iterator[str]:
        """See `Step`."""
        if not isinstance(self.to, str) or not grid.is_orientation(self.to) or plane + stack != grid.WORLD:
            yield f"to must be three letters such as RAS, for 3D images, got {short(self.to)}"

    def apply(self, item: Item) -> tuple[Item, Turned]:
        """See `Step`."""
        assert item.affine is not None
        return _turned(item, grid.turn_to(self.to, item.affine))

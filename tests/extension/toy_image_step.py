"""A step of a pipeline from outside the package: the square of every value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from autoopt.inference.steps.base import Item


@dataclass(frozen=True)
class Square:
    """Every value times itself, and times `factor`."""

    factor: float = 1.0

    needs_affine = False
    needs_scipy = False
    keeps_pixels = False

    def problems(self, plane: int, stack: int, channels: int) -> Iterator[str]:
        """Nothing can be wrong."""
        yield from ()

    def apply(self, item: Item) -> tuple[Item, None]:
        """See `Step`."""
        return replace(item, values=item.values**2 * self.factor), None

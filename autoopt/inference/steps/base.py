"""What all steps of a pipeline share: the image on its way, and the way back for what the network answers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np

from autoopt.core.plain_text import short

LARGEST = sys.float_info.max


@dataclass(frozen=True)
class Item:
    """An image between two steps.

    `values` is float32 (*spatial, channels), or uint8 where the graph takes pixels. `affine` (4, 4) maps its voxels to
    RAS+ millimetres, None where that is not known. `stack` is 1 where the first axis is a stack of 2D images, else 0.
    `mask` is bool (*spatial), the foreground that a step has found, None before one has.
    """

    values: np.ndarray
    affine: np.ndarray | None
    stack: int = 0
    mask: np.ndarray | None = None

    @property
    def sizes(self) -> tuple[int, ...]:
        """The spatial sizes."""
        return self.values.shape[:-1]


class Move(Protocol):
    """Where one step put the voxels of one image, and how label maps and answers follow it.

    `interpolates`: whether voxels of the answer are mixed on the way back.
    """

    interpolates: bool

    def labels_there(self, labels: np.ndarray, outside: int) -> np.ndarray:
        """A label map (*before, ...) as (*after, ...); `outside` is the label beyond the edge of the image."""
        ...

    def values_back(self, values: np.ndarray, background: np.ndarray) -> np.ndarray:
        """Logits or probabilities (classes, *after) as (classes, *before).

        `background` (classes,) stands where the network saw nothing.
        """
        ...

    def labels_back(self, labels: np.ndarray) -> np.ndarray:
        """A label map (*after, ...) as (*before, ...); 0 stands where the network saw nothing."""
        ...


class Step(Protocol):
    """One step as plain data: a frozen dataclass whose fields are numbers, texts, truths and tuples of them."""

    @property
    def needs_affine(self) -> bool:
        """Whether an image must come with its affine."""
        ...

    @property
    def needs_scipy(self) -> bool:
        """Whether scipy is needed beside numpy."""
        ...

    @property
    def keeps_pixels(self) -> bool:
        """Whether 8-bit pixels are still 8-bit pixels after it."""
        ...

    def problems(self, plane: int, stack: int, channels: int) -> Iterator[str]:
        """Everything about its fields that cannot work, a clause each.

        `plane` is the number of axes of a network call, `stack` is 1 for stacks of 2D images, else 0.
        """
        ...

    def apply(self, item: Item) -> tuple[Item, Move | None]:
        """The image after the step, and the way back; None where no voxel has moved. Raises ValueError."""
        ...


@dataclass(frozen=True)
class Stationary:
    """What steps have in common that change values and move nothing. `channels`: only these; None: all of them."""

    channels: tuple[int, ...] | None = None

    needs_affine = False
    needs_scipy = False
    keeps_pixels = False

    def channel_problems(self, channels: int) -> Iterator[str]:
        """What is wrong with `channels` for an image of that many."""
        if self.channels is not None and not (
            listed(self.channels, whole) and self.channels and all(0 <= item < channels for item in self.channels)
        ):
            yield f"channels must be whole numbers from 0 to {channels - 1}, got {short(self.channels)}"

    def each(self, item: Item, change: Callable[[np.ndarray, int], np.ndarray]) -> Item:
        """The image with `change` done to each of the channels, (*spatial) in one piece, and its place among them."""
        values = np.array(item.values, np.float32)
        count = values.shape[-1]
        for place, channel in enumerate(range(count) if self.channels is None else self.channels):
            # In one piece: over a strided axis numpy adds one value after the other and loses digits.
            values[..., channel] = change(np.ascontiguousarray(values[..., channel]), place)
        return Item(values, item.affine, item.stack, item.mask)


def whole(value: object) -> bool:
    """Whether a value from outside is a whole number."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def finite(value: object) -> bool:
    """Whether a value from outside is a finite number."""
    return (whole(value) or isinstance(value, float | np.floating)) and bool(abs(cast(float, value)) <= LARGEST)


def listed(values: object, holds: Callable[[object], bool], count: int | None = None) -> bool:
    """Whether a value from outside is a tuple, with `count` of so many, of values that `holds` accepts."""
    return isinstance(values, tuple) and count in (None, len(values)) and all(map(holds, values))


def truth_problems(name: str, value: object) -> Iterator[str]:
    """What is wrong with a field that must be true or false."""
    if not isinstance(value, bool):
        yield f"{name} must be true or false, got {short(value)}"

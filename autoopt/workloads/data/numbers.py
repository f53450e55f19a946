"""The numbers that a regression predicts: which of those that a data folder has, and what they are called."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from autoopt.errors import DataError
from autoopt.workloads.data.cases import Found, Item, raise_problems
from autoopt.workloads.data.columns import composed, first_of

USUAL = ("valuetopredict", "value", "target", "label", "y", "score")
"""Columns that name the number of a regression, where a table has several columns of numbers."""


@dataclass(frozen=True)
class Numbers:
    """The names of the numbers in the order of the model's answers, and the answer for a case.

    `places` has the place of each in `Item.label`.
    """

    names: tuple[str, ...]
    places: tuple[int, ...]

    def answer(self, item: Item) -> np.ndarray:
        """The numbers of a case, float64 (names,)."""
        assert isinstance(item.label, tuple)
        return np.array([item.label[place] for place in self.places], np.float64)


def numbers_of(found: Found, wanted: Sequence[str] | None) -> Numbers:
    """The numbers called `wanted`, else the only ones, else those of the first usual name (`USUAL`).

    Raises DataError where they are not there or not in every line, or where nothing says which of several is meant.
    """
    there = [composed(name) for name in found.label_names]
    gaps = {composed(name): problem for name, problem in found.gaps.items()}
    if wanted is not None and not found.named and len(wanted) == len(there):
        return Numbers(tuple(wanted), tuple(range(len(there))))
    if wanted is not None:
        absent = [name for name in wanted if composed(name) not in there]
        raise_problems([gaps[composed(name)] for name in absent if composed(name) in gaps])
        if absent:
            raise DataError(
                f"--option labels must name numbers that the data have, got {', '.join(absent)}: they have "
                f"{', '.join(there)}"
            )
        return Numbers(tuple(wanted), tuple(there.index(composed(name)) for name in wanted))
    if not found.named or (len(there) == 1 and not gaps):
        return Numbers(tuple(there), tuple(range(len(there))))
    usual = first_of(USUAL, [*there, *gaps])
    if usual in gaps:  # else a column that only describes the cases would be predicted in its place
        raise DataError(gaps[usual])
    if usual is None:
        raise DataError(
            f"which number is to be predicted must be known, there are {', '.join([*there, *gaps])}: name it with "
            f"--option labels={there[0]}, or several with commas between them in the order of the model's answers"
        )
    return Numbers((usual,), (there.index(usual),))


def as_number(text: str) -> float | None:
    """The finite number that a cell of a table holds; None where it holds none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None

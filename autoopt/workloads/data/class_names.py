"""The classes of a data folder: what they are called, and which of them is which answer of the model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from autoopt.errors import DataError
from autoopt.workloads.data.cases import Found, Item
from autoopt.workloads.data.columns import composed

Order = Literal["text", "number"]
"""How classes that are called by numbers are put in order: 0, 1, 10, 2 as text, or 0, 1, 2, 10."""
NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
MOST_NAMES = 6


@dataclass(frozen=True)
class ClassNames:
    """The names of the classes, or of the labels of a multilabel task, in order, and the answer for a case.

    `numbers` has the number of each class by what the data call it; `order` the place in `Item.label` of each label.
    """

    names: tuple[str, ...]
    numbers: dict[str, int]
    order: tuple[int, ...]

    def answer(self, item: Item) -> np.ndarray:
        """The class as one integer, or 0 / 1 for each label."""
        if isinstance(item.label, tuple):
            return np.array([item.label[index] for index in self.order], np.uint8)
        return np.array(self.numbers[cast(str, item.label)])

    def present(self, item: Item) -> frozenset[int]:
        """The numbers of the classes that the case has."""
        answer = self.answer(item)
        return frozenset(np.flatnonzero(answer).tolist() if answer.ndim else [int(answer)])


def class_names(
    found: Found, wanted: Sequence[str] | None, order: Order | None = None, said: Sequence[str] = ()
) -> ClassNames:
    """The classes in the order that was asked for, by their names (`wanted`) or as text or numbers (`order`).

    Where neither is given, `said` are the names that the model has for its answers, in order. Raises DataError where
    names do not say which class is which, and where folders are called by numbers whose order as text differs from that
    as numbers and nothing says which of the two the model has.
    """
    wanted = None if wanted is None else [composed(name) for name in wanted]
    if found.label_names:
        return _several_labels(found, wanted)
    there = {cast(str, item.label) for item in found.items}
    if len(there) < 2:
        raise DataError(f"there must be cases of at least two classes, all are {', '.join(there)}")
    if wanted is not None and there <= set(wanted):
        return ClassNames(tuple(wanted), {name: wanted.index(name) for name in there}, ())
    if wanted is None and order is None and said:
        return _as_the_model_says(there, [composed(name) for name in said])
    by_text, by_number = sorted(there), sorted(there, key=_by_number)
    numbered = all(NUMBER.fullmatch(name) for name in there)
    if order is None and by_text != by_number and (found.from_folders or not numbered):
        raise DataError(
            f"the order of the classes must be known, and classes called by numbers have "
            f"two: as text, as ImageFolder and Keras sort folders ({_listed(by_text)}), and by number "
            f"({_listed(by_number)}); give the one that the model was trained with by --option order=text or "
            "--option order=number, or name the classes in the order of the model's answers by --option labels=A,B"
        )
    ordered = by_text if order == "text" else by_number
    if wanted is None:
        return ClassNames(tuple(ordered), {name: number for number, name in enumerate(ordered)}, ())
    if numbered and not there & set(wanted):
        if order != "text" and there <= {str(number) for number in range(len(wanted))}:
            return ClassNames(tuple(wanted), {name: int(name) for name in there}, ())
        if len(there) == len(wanted):
            return ClassNames(tuple(wanted), {name: number for number, name in enumerate(ordered)}, ())
    raise DataError(
        f"--option labels must name the classes {', '.join(by_number)} in some order, got {', '.join(wanted)}"
    )


def _as_the_model_says(there: set[str], said: Sequence[str]) -> ClassNames:
    """The classes as the answers of the model are called; folders called 0, 1, ... are the numbers of the answers."""
    alike = {_alike(name): number for number, name in enumerate(said)}
    numbers = {name: said.index(name) if name in said else alike.get(_alike(name), -1) for name in there}
    if min(numbers.values()) < 0 and there <= {str(number) for number in range(len(said))}:
        numbers = {name: int(name) for name in there}
    if min(numbers.values()) < 0 or len(set(numbers.values())) < len(there):
        raise DataError(
            f"the model calls its answers {', '.join(said)}, the classes of the data are called "
            f"{', '.join(sorted(there, key=_by_number))}: name them in the order of the model's answers by "
            "--option labels=A,B, or give --option order=text or --option order=number"
        )
    called = {number: name for name, number in numbers.items() if not NUMBER.fullmatch(name)}
    return ClassNames(tuple(called.get(number, name) for number, name in enumerate(said)), numbers, ())


def _alike(name: str) -> str:
    """The name without what people write differently: case, `_`, `-`, spaces."""
    return "".join(letter for letter in name.casefold() if letter not in " _-")


def _several_labels(found: Found, wanted: Sequence[str] | None) -> ClassNames:
    """The labels of a multilabel task in the order that was asked for."""
    names = tuple(wanted or found.label_names)
    if found.named and set(names) == set(found.label_names):
        return ClassNames(names, {}, tuple(found.label_names.index(name) for name in names))
    if found.named or len(names) != len(found.label_names):
        raise DataError(f"--option labels must name {', '.join(found.label_names)}, got {', '.join(names)}")
    return ClassNames(names, {}, tuple(range(len(names))))


def _by_number(label: str) -> tuple[int, float, str]:
    return (0, float(label), label) if NUMBER.fullmatch(label) else (1, 0.0, label)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (", ..." if len(names) > MOST_NAMES else "")

"""Splits that are named by folders, beside those that a table may name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from autoopt.workloads.contract import SplitName
from autoopt.workloads.data.cases import Item


def with_splits(items: Sequence[Item], splits: Mapping[str, SplitName | None], problems: list[str]) -> list[Item]:
    """The cases, those without a split with that of their folder; where a table says another one joins `problems`.

    `splits` has the split of the folder of each case by the name of the case, None where its folder names none.
    """
    problems += [
        f"{item.where}: {item.name} must be in one split, its folder is of {splits[item.name]} and the table says "
        f"{item.split}: leave out one of the two"
        for item in items
        if None not in (item.split, splits[item.name]) and item.split != splits[item.name]
    ]
    return [replace(item, split=item.split or splits[item.name]) for item in items]

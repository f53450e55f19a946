"""The worst cases of a member of the front as a value: what a report shows of them, and keeps."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from autoopt.report.evidence_losses import Loss
from autoopt.report.evidence_pictures import Tile

WORST_CASES = "worst_cases"
"""The name of this evidence: `WorstCases`, or a sentence that says why there are none."""


@dataclass(frozen=True)
class Picture:
    """A tile as text: `data` is an address that holds the picture, empty where words are all there is."""

    words: str
    data: str

    @classmethod
    def of(cls, tile: Tile) -> Self:
        """A tile as text."""
        text = base64.b64encode(tile.picture).decode()
        return cls(tile.words, f"data:image/webp;base64,{text}" if text else "")


@dataclass(frozen=True)
class CaseRow:
    """A case of a patient (`group`), its scores before and after, its pictures in the order of `rows_of_tiles`."""

    id: str
    group: str
    before: float
    after: float
    pictures: tuple[Picture, ...]

    @classmethod
    def of(cls, loss: Loss, group: str, tiles: list[Tile]) -> Self:
        """The row of a case that lost."""
        return cls(loss.name, group, loss.before, loss.after, tuple(map(Picture.of, tiles)))


@dataclass(frozen=True)
class WorstCases:
    """The worst cases of trial `number` beside those of `reference`, by `metric`, worst first.

    `colours` are the labels that are drawn, each with its colour as CSS has it.
    """

    number: int
    reference: int
    metric: str
    colours: tuple[tuple[str, str], ...]
    rows: tuple[CaseRow, ...]

    def to_json(self) -> dict[str, Any]:
        """The fields as plain JSON."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `to_json` wrote. Raises KeyError, TypeError or ValueError for something else."""
        rows = tuple(
            CaseRow(**{**row, "pictures": tuple(_picture(item) for item in row["pictures"])}) for row in value["rows"]
        )
        colours = tuple((str(name), str(colour)) for name, colour in value["colours"])
        return cls(int(value["number"]), int(value["reference"]), str(value["metric"]), colours, rows)


def _picture(value: Mapping[str, Any]) -> Picture:
    """A kept picture. Raises ValueError for one that would be asked for elsewhere."""
    found = Picture(**value)
    if found.data and not found.data.startswith("data:image/webp;base64,"):
        raise ValueError("a kept picture must hold its data")
    return found

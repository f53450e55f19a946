"""What a user may ask for where a data folder does not say it by itself: options of all models but a Python file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast

from autoopt.core.configuration import Scalar
from autoopt.core.parameters import Parameter
from autoopt.errors import WorkloadError
from autoopt.workloads.data.headers import CaseFormat
from autoopt.workloads.data.reading import AS_STORED, Reading

OPTIONS: Mapping[str, Parameter] = {
    "channels": Parameter(
        "integer",
        None,
        "channels that the model takes: images of one channel are given so many; null: those of the images",
        low=1,
        nullable=True,
    ),
    "suffixes": Parameter(
        "text",
        None,
        "how the names of the files of one case end, in the order of the channels, such as _t1,_t1ce,_t2,_flair",
        nullable=True,
    ),
    "volumes": Parameter(
        "choice", None, "channels: the volumes of a time series are channels", allowed=("channels",), nullable=True
    ),
    "nan": Parameter(
        "number", None, "what NaN and infinite values are read as, such as 0; null: they are refused", nullable=True
    ),
}
"""The options, by their names."""


@dataclass(frozen=True)
class Wishes:
    """How a data folder is to be read.

    `channels`: images of one channel are given so many equal ones. `suffixes`: how the names of the image files of a
    case end, in the order of the channels. `reading` has what also holds for files that come later.
    """

    channels: int | None = None
    suffixes: tuple[str, ...] = ()
    reading: Reading = AS_STORED

    @classmethod
    def of(cls, options: Mapping[str, Scalar]) -> Self:
        """What these options ask for; other options mean nothing here."""
        nan = options.get("nan")
        parts = str(options.get("suffixes") or "").split(",")
        return cls(
            channels=cast("int | None", options.get("channels")),
            suffixes=tuple(part.strip() for part in parts if part.strip()),
            reading=Reading(
                volumes=options.get("volumes") is not None, nan=None if nan is None else float(cast(float, nan))
            ),
        )

    @property
    def in_digest(self) -> tuple[Any, ...]:
        """What makes other cases of the same files, for their digest; nothing where nothing was asked for."""
        return () if self == NOTHING_ELSE else (self.channels, list(self.suffixes), self.reading.to_json())

    def channels_of(self, folder: Path, form: CaseFormat) -> int:
        """The channels of the images as a model is given them. Raises WorkloadError where it cannot be that many."""
        there = sum(form.channels)
        if self.channels is None or there == self.channels:
            return there
        if there != 1:
            raise WorkloadError(
                f"{folder}: by --option channels={self.channels} the model takes {self.channels} channel(s), the "
                f"images have {there}: leave the option out, or store the channels that are meant"
            )
        return self.channels

    def remarks(self, folder: Path, form: CaseFormat) -> tuple[str, ...]:
        """What was done because it was asked for, as sentences."""
        said = []
        if self.channels_of(folder, form) > sum(form.channels):
            said.append(f"{folder}: images have one channel, the model is given {self.channels} equal ones")
        if self.reading.nan is not None:
            said.append(
                f"{folder}: NaN and infinite values of images, if there are any, are read as {self.reading.nan:g}"
            )
        return tuple(said)


NOTHING_ELSE = Wishes()

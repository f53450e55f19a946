"""How a search reads its images from files, so that `autoopt predict` reads files of the same kind in the same way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

import numpy as np

from autoopt.errors import BadData
from autoopt.workloads.data.arrays import SERIES, array_names, read_header
from autoopt.workloads.data.channel_files import check_alike
from autoopt.workloads.data.image_file import ImageFile, Source
from autoopt.workloads.data.pictures import read_rgb
from autoopt.workloads.data.readers import of_series, open_image, suffix_of

ONE, MANY = "image", "images"
"""The arrays of a .npz file with one case, and of one with all cases, as data folders have them."""
SERIES_AXES = 3
"""Of many time series in one array: (n, channels, time)."""
ARCHIVE = ".npz"
ALWAYS = ("colours", "value_range", "files")
"""What is written of a reading whatever it is; younger fields are only where they differ from their default."""
SAME_PLACE = 1e-3
"""How far affines of channels of one image may be apart, in mm."""


@dataclass(frozen=True)
class Reading:
    """How the images of a search were read.

    `colours`: every picture as 8-bit RGB, whatever it holds; else as it is stored, as `ImageFile` says. `value_range`:
    that of all files (see `ImageFile`), None where files of any type will do. `files`: image files of one case, put
    side by side as channels; `suffixes`: how their names end, empty where names do not tell it. `repeat`: an image of
    one channel is given as many equal ones as the model takes.
    `volumes`: those of a time series are channels. `nan`: what NaN and infinite values are read as, None where they are
    refused. `series`: which one of a DICOM folder that has several.
    """

    colours: bool = False
    value_range: float | None = None
    files: int = 1
    suffixes: tuple[str, ...] = ()
    repeat: bool = False
    volumes: bool = False
    nan: float | None = None
    series: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON."""
        plain = {**asdict(self), "suffixes": list(self.suffixes)}
        default = asdict(Reading())
        return {name: item for name, item in plain.items() if name in ALWAYS or getattr(self, name) != default[name]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """What `to_json` wrote. Raises ValueError for anything else."""
        try:
            plain: dict[str, Any] = {
                name: tuple(item) if isinstance(item, list) else item for name, item in value.items()
            }
            made = cls(**plain)
        except TypeError as error:
            known = ", ".join(item.name for item in fields(cls))
            raise ValueError(f"it may say {known}, it says {sorted(map(str, value))}") from error
        suffixes: object = made.suffixes
        if not isinstance(suffixes, tuple) or not all(isinstance(item, str) and item for item in suffixes):
            raise ValueError("suffixes must be a list of texts")
        ranged = made.value_range is None or (_number(made.value_range) and made.value_range > 0)
        told = all(isinstance(value, bool) for value in (made.colours, made.repeat, made.volumes))
        if not told or not ranged or type(made.files) is not int or made.files < 1:
            raise ValueError(
                "colours, repeat and volumes must be true or false, value_range a number above 0, files a whole number "
                "above 0"
            )
        if made.nan is not None and not _number(made.nan):
            raise ValueError("nan must be a number or null")
        if not isinstance(made.series, str | None):
            raise ValueError("series must be a text or null")
        return made

    def open(self, source: Source) -> ImageFile:
        """The image at `source`, its header read. Raises BadData naming the file, also for a series."""
        file = open_image(of_series(source, self.series), nan=self.nan)
        if file.volumes is not None and not self.volumes:
            raise BadData(
                f"{source} must hold one image, it holds {file.volumes}: store one of them per file; if they are the "
                "channels of one image, say so with --option volumes=channels"
            )
        return file

    def image(
        self, source: Source, dimensions: int, channels: int, more: Sequence[Source] = ()
    ) -> tuple[np.ndarray, ImageFile]:
        """The image (*spatial, channels) of a file for a model of so many axes and channels, and the open file.

        `more` are files with further channels of the same image. Raises BadData naming a file that the search would not
        have taken, or that does not fit the first one.
        """
        file = self.open(source)
        if more:
            return self._joined(source, file, more, dimensions), file
        if self.files != 1 and file.channels is not None:
            raise BadData(
                f"{source} must hold all channels of its case, as the search put {self.files} files of a case side by "
                "side: give all of them, called as those were, or store them as one .npy or .npz with the channels last"
            )
        if file.channels is not None and len(file.shape) != dimensions:
            raise BadData(f"{source} must be {dimensions}D, it is {len(file.shape)}D")
        if self.colours and file.is_picture:
            return read_rgb(source.path), file
        if self.value_range not in (None, file.value_range):
            raise BadData(
                f"{source} must have pixels as the search had them, of a type that is divided by "
                f"{self.value_range:g}, its own is divided by {file.value_range:g}: store it as those were"
            )
        return with_channels(file.read(), dimensions, channels if file.is_picture or self.repeat else 1), file

    def _joined(self, source: Source, file: ImageFile, more: Sequence[Source], dimensions: int) -> np.ndarray:
        """The channels of several files of one image, one after the other."""
        parts = [with_channels(file.read(), dimensions, 1)]
        for other in more:
            also = self.open(other)
            check_alike(source.path, file.shape[:dimensions], other.path, also.shape[:dimensions])
            if (file.affine is None) != (also.affine is None) or (
                file.affine is not None and not np.allclose(file.affine, np.asarray(also.affine), atol=SAME_PLACE)
            ):
                raise BadData(f"{other} must lie where {source.path.name} does, its affine is another one")
            parts.append(with_channels(also.read(), dimensions, 1))
        return np.concatenate(parts, axis=-1)


AS_STORED = Reading()
"""Of files that need nothing more than their format."""


def with_channels(values: np.ndarray, dimensions: int, channels: int) -> np.ndarray:
    """Values (*spatial) or (*spatial, own channels) as (*spatial, channels): a single one is repeated."""
    image = values if values.ndim > dimensions else values[..., np.newaxis]
    return np.repeat(image, channels, axis=-1) if image.shape[-1] == 1 < channels else image


def sources_in(source: Source) -> list[Source]:
    """The images in a file: the file itself, or each case of a .npz that holds many; as data folders are read.

    Raises BadData naming a file that cannot be read.
    """
    if suffix_of(source.path) != ARCHIVE:
        return [source]
    names = array_names(source.path)
    several = MANY in names or (SERIES in names and len(read_header(Source(source.path, SERIES)).shape) == SERIES_AXES)
    one = next((key for key in (ONE, SERIES) if key in names), None)
    if ONE in names or not several:
        return [source if one is None else Source(source.path, one)]
    whole = Source(source.path, MANY if MANY in names else SERIES)
    count = (read_header(whole).shape or (0,))[0]
    if not count:
        raise BadData(f"{whole} must hold cases, it is empty")
    return [Source(source.path, whole.key, index) for index in range(count)]


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

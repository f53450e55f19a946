"""What headers say together, and whether a mask lies on its image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import BadData, DataError
from autoopt.workloads.data.cases import Item
from autoopt.workloads.data.headers import open_pair, read_headers
from autoopt.workloads.data.image_file import ImageFile, Source

IMAGE, MASK = Source(Path("i.x")), Source(Path("m.x"))
ITEM = Item("case", "patient", None, (IMAGE,), MASK)


class Files:
    """Opens images that are described, not stored; none of them may be read."""

    def __init__(self, **files: ImageFile) -> None:
        self.files = files

    def __call__(self, source: Source) -> ImageFile:
        if source.path.stem not in self.files:
            raise BadData(f"{source} is broken")
        return self.files[source.path.stem]


def header(*shape: int, channels: int | None = None, affine: np.ndarray | None = None, **more: float) -> ImageFile:
    def read() -> np.ndarray:
        raise AssertionError("a header needs no values")

    return ImageFile(shape, channels, read, affine=affine, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("image", "mask", "dimensions", "channels", "map_labels"),
    [
        (header(9, 8, channels=3), header(9, 8, channels=1), 2, 3, None),
        (header(9, 8, 7, channels=1), header(9, 8, 7, channels=1), 3, 1, None),
        (header(9, 8, 3), header(9, 8), 2, 3, None),
        (header(9, 8, 7), header(9, 8, 7), 3, 1, None),
        (header(9, 8, 2), header(9, 8, 2), 2, 2, 2),
        (header(9, 8), header(9, 8, 2), 2, 1, 2),
        (header(9, 8, 7, 2), header(9, 8, 7), 3, 2, None),
        (header(9, 8, 3), header(9, 8, 1), 2, 3, None),
    ],
)
def test_axes(image: ImageFile, mask: ImageFile, dimensions: int, channels: int, map_labels: int | None) -> None:
    """Which axes are space, channels and labels follows from the formats, else from image and mask together."""
    form = read_headers([ITEM], Files(i=image, m=mask))
    assert (form.dimensions, form.channels, form.map_labels) == (dimensions, (channels,), map_labels)


def test_every_broken_file_is_said() -> None:
    """The files that cannot be opened come together in one error."""
    with pytest.raises(DataError) as caught:
        read_headers([ITEM], Files())
    assert caught.value.problems == ("i.x is broken", "m.x is broken")


@pytest.mark.parametrize(
    ("mask", "says"),
    [
        (header(9, 8, 6, channels=1), "m.x must be as large as its image i.x, 9x8x7, it is 9x8x6"),
        (header(9, 8, 7, channels=1, affine=np.diag([2.0, 1, 1, 1])), "m.x must lie where its image i.x lies"),
    ],
)
def test_a_mask_lies_on_its_image(mask: ImageFile, says: str) -> None:
    """A mask of another size or place is said, and the pair is none; one without an affine is believed."""
    image = header(9, 8, 7, channels=1, affine=np.eye(4))
    problems: list[str] = []
    assert open_pair(ITEM, problems, Files(i=image, m=mask)) is None
    assert len(problems) == 1 and says in problems[0]
    assert open_pair(ITEM, problems, Files(i=image, m=header(9, 8, 7, channels=1))) is image
    assert open_pair(ITEM, problems, Files(i=image)) is None and problems[1:] == ["m.x is broken"]

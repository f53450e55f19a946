"""One image in a file: what is told of it, and what no image can be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import BadData
from autoopt.workloads.data.image_file import ImageFile, Source, reading, shape_problem, value_problem


def test_a_source_is_named_in_full() -> None:
    """Messages name the file, the array in it and the case of many."""
    assert str(Source(Path("a.png"))) == "a.png"
    assert str(Source(Path("a.npz"), "images", 3)) == "a.npz (images) case 3"


def test_values_in_memory_are_an_image() -> None:
    """A reader without a header of its own gives the whole array; its dtype tells the range, an int is an axis."""
    image = ImageFile.of(np.zeros((4, 5, 2), np.uint16), np.eye(4), channels=2)
    assert (image.shape, image.channels, image.value_range) == ((4, 5), 2, 65535.0)
    assert image.read().shape == (4, 5, 2) and image.labels() is image.read()
    assert ImageFile.of(np.zeros((4, 5, 6), np.int8)).shape == (4, 5, 6)


@pytest.mark.parametrize(
    ("shape", "channels", "says"),
    [
        ((4, 5), 3, None),
        ((4, 5, 6), None, None),
        ((4, 5, 6, 2), None, None),
        ((4, 5, 6, 2), 1, "must be 1D, 2D or 3D"),
        ((), None, "must be 1D, 2D or 3D, with channels at the end, its shape is ()"),
        ((4, 0), 1, "must not be empty"),
    ],
)
def test_shapes(shape: tuple[int, ...], channels: int | None, says: str | None) -> None:
    """An image has two or three spatial axes and at least one pixel."""
    problem = shape_problem(shape, channels)
    assert problem is None if says is None else says in str(problem)


def test_values() -> None:
    """Texts, objects and complex numbers are no pixels; NaN and infinity are counted."""
    assert value_problem(np.zeros(3, bool)) is None and value_problem(np.zeros(3, np.float16)) is None
    assert value_problem(np.array(["x"])) == "must hold real numbers, it holds <U1"
    assert value_problem(np.array([1.0, np.nan, np.inf])) == (
        "must hold finite numbers, 2 of its 3 values are NaN or infinite"
    )


def test_errors_of_libraries_name_the_file() -> None:
    """What a library raises becomes BadData with the reason; what is said already, and a full memory, pass."""
    path = Path("folder/scan.nii")
    with (
        pytest.raises(BadData, match=r"^folder/scan\.nii must be whole: scan\.nii ends early$"),
        reading(path, "whole"),
    ):
        raise EOFError(f"{path} ends early")
    with pytest.raises(BadData, match=r"^mine$"), reading(path, "whole"):
        raise BadData("mine")
    with pytest.raises(MemoryError), reading(path, "whole"):
        raise MemoryError

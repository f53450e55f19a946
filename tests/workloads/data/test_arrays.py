"""Arrays in .npy and .npz files: headers without data, one of many cases, nothing unpickled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import BadData
from autoopt.workloads.data.arrays import array_names, open_npz, read_array, read_arrays, read_header
from autoopt.workloads.data.image_file import Source

CASES = np.arange(5 * 4 * 3, dtype=np.int16).reshape(5, 4, 3)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_one_case_of_many(tmp_path: Path, write: Callable[..., None], order: str) -> None:
    """Case i of an array is its row i, stored or compressed and in either order of axes, with a header of its own."""
    path = tmp_path / "all.npz"
    write(path, images=np.asarray(CASES, order=order), labels=np.arange(5))  # type: ignore[call-overload]
    assert array_names(path) == {"images", "labels"}
    assert read_header(Source(path, "images")).shape == (5, 4, 3)
    for index in range(5):
        opened = open_npz(path, "images", index)
        assert opened.shape == (4, 3) and opened.read().dtype == np.int16
        np.testing.assert_array_equal(opened.read(), CASES[index])


def test_an_archive_of_one_array_is_an_image(tmp_path: Path) -> None:
    """Without a name the only array is meant; of several none is."""
    path = tmp_path / "one.npz"
    np.savez(path, scan=CASES)
    np.testing.assert_array_equal(open_npz(path).read(), CASES)
    np.savez(path, image=CASES, label=CASES)
    with pytest.raises(BadData, match=r"one\.npz must hold one array to be an image, it holds image, label"):
        open_npz(path)


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    """What is kept of a file is forgotten once the file is another."""
    path = tmp_path / "all.npz"
    np.savez_compressed(path, images=CASES)
    assert read_array(Source(path, "images", 1))[0, 0] == 12
    np.savez_compressed(path, images=CASES[::-1], more=CASES)
    assert read_array(Source(path, "images", 1))[0, 0] == 36
    assert array_names(path) == {"images", "more"}


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    """An array of Python objects is refused by its header, in .npy and .npz."""
    objects = np.array([{}, []], object)
    np.save(tmp_path / "x.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "x.npz", image=objects)
    for source in (Source(tmp_path / "x.npy"), Source(tmp_path / "x.npz", "image")):
        with pytest.raises(BadData, match=r"must be a whole np[yz] file without objects"):
            read_header(source)


def test_several_arrays_at_once(tmp_path: Path) -> None:
    """Arrays come in the order that was asked for; what is missing is named with what is there."""
    path = tmp_path / "x.npz"
    np.savez(path, label=CASES + 1, image=CASES)
    image, label = read_arrays(path, ("image", "label"))
    np.testing.assert_array_equal(label, image + 1)
    with pytest.raises(BadData, match=r"x\.npz must hold the arrays image and mask, it holds label, image"):
        read_arrays(path, ("image", "mask"))

"""Files that come later are read as the search read its own, or refused as it would have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from autoopt.errors import BadData
from autoopt.workloads.data.dataset import read_dataset
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.reading import Reading, sources_in
from tests.workloads.data import folders


def test_a_grey_picture_among_coloured_ones_is_read_as_the_search_reads_it(tmp_path: Path) -> None:
    """Every image of a data folder is the same array in a case of the search and by the reading of its bundle."""
    data = folders.pairs(tmp_path / "data")
    grey = data / "images" / "p00.png"
    Image.open(grey).convert("L").save(grey)
    found = read_dataset(data, "segmentation")
    assert Reading.from_json(found.reading.to_json()) == found.reading == Reading(value_range=255.0)
    for case in (*found.splits.train, *found.splits.val):
        source = Source(data / "images" / f"{case.id}.png")
        image, _ = found.reading.image(source, found.dimensions, found.channels)
        wanted = case.read().image
        assert image.dtype == wanted.dtype and np.array_equal(image, wanted), case.id


def test_other_types_of_pixels_are_refused(tmp_path: Path) -> None:
    """Floats and 16 bits for a model of 8-bit pictures are refused, as a mixed data folder is; so are other axes."""
    np.save(tmp_path / "floats.npy", np.zeros((8, 8, 3)))
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "deep.png")
    folders.volume(tmp_path / "head.nii.gz", np.zeros((4, 4, 4), np.float32))
    reading = Reading(value_range=255.0)
    cases = (
        ("floats.npy", "divided by 255, its own is divided by 1:"),
        ("deep.png", "its own is divided by 65535"),
        ("head.nii.gz", "must be 2D, it is 3D"),
    )
    for name, words in cases:
        with pytest.raises(BadData, match=words):
            reading.image(Source(tmp_path / name), 2, 3)


def test_time_series_are_read_as_in_a_data_folder(tmp_path: Path) -> None:
    """`series` is one case or, with a further axis, many, whatever the labels beside it; channels come last."""
    series = np.random.default_rng(0).normal(size=(4, 3, 40))
    np.savez(tmp_path / "many.npz", series=series)
    np.savez(tmp_path / "one.npz", series=series[2])
    many, (one,) = sources_in(Source(tmp_path / "many.npz")), sources_in(Source(tmp_path / "one.npz"))
    assert len(many) == 4
    for source in (many[2], one):
        image, _ = Reading(value_range=1.0).image(source, 1, 3)
        assert np.array_equal(image, series[2].T)
    with pytest.raises(BadData, match="must be 2D, it is 1D"):
        Reading().image(one, 2, 3)


def test_a_case_of_several_files_must_come_as_one(tmp_path: Path) -> None:
    """A model whose cases were several files takes an array with all channels, and no single file of them."""
    data = folders.table(tmp_path)
    found = read_dataset(data, "segmentation")
    assert found.reading.files == 2
    case = found.splits.train[0]
    with pytest.raises(BadData, match="put 2 files of a case side by side"):
        found.reading.image(Source(tmp_path / "t1" / "s0.nii.gz"), 3, found.channels)
    np.save(tmp_path / "both.npy", case.read().image)
    image, _ = found.reading.image(Source(tmp_path / "both.npy"), 3, found.channels)
    assert np.array_equal(image, case.read().image)


@pytest.mark.parametrize(
    "wrong", [{"repeat": 1}, {"volumes": "yes"}, {"nan": "0"}, {"nan": float("nan")}, {"files": 0}, {"turned": True}]
)
def test_what_a_bundle_may_not_say_of_its_reading(wrong: dict[str, Any]) -> None:
    """A reading with another value or word than it may have is refused; one that lacks later words has none of them."""
    assert Reading.from_json({"colours": False, "value_range": 1.0, "files": 1}) == Reading(value_range=1.0)
    with pytest.raises(ValueError, match=r"must be|may say"):
        Reading.from_json(wrong)

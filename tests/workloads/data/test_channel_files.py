"""Files of one image are told by how their names end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.deploy.inputs import find_inputs
from autoopt.errors import BadData
from autoopt.workloads.data.channel_files import common_suffixes, grouped
from autoopt.workloads.data.image_file import Source
from autoopt.workloads.data.reading import Reading
from tests.workloads.data.folders import volume

WORD = st.text("abc_1", min_size=1, max_size=6)


@given(
    cases=st.lists(WORD, min_size=1, max_size=4, unique=True),
    suffixes=st.sampled_from([("_0000", "_0001"), ("_t1", "_t1ce")]),
)
def test_what_is_told_is_found_again(cases: list[str], suffixes: tuple[str, ...]) -> None:
    """Whatever cases are called, their files are grouped by the endings that were found in them."""
    files = [[Path(f"/in/{case}{suffix}.nii.gz") for suffix in suffixes] for case in cases]
    found = common_suffixes(files)
    assert found == suffixes
    whole, problems = grouped([path for paths in files for path in reversed(paths)], found)
    assert not problems
    assert {stem.name: paths for stem, paths in whole.items()} == dict(zip(cases, files, strict=True))


@pytest.mark.parametrize("names", [["a_000"], ["_0000"], ["a_0000", "a_0000"], ["a", "b"], ["t1", "t2"]])
def test_names_that_do_not_tell_the_channel(names: list[str]) -> None:
    """One file, equal names in two folders, and names without a common beginning say nothing."""
    assert common_suffixes([[Path(f"/{index}/{name}.nii") for index, name in enumerate(names)]]) == ()


def test_the_only_channel_of_nnunet(tmp_path: Path) -> None:
    """Where every case has CASE_0000 alone, outputs are called CASE; an image that is called otherwise is taken too."""
    assert common_suffixes([[Path("/in/a_0000.nii.gz")], [Path("/in/b_0000.nii.gz")]]) == ("_0000",)
    for name in ("a_0000.nii.gz", "scan.nii.gz"):
        volume(tmp_path / name, np.zeros((3, 4, 5), np.float32))
    found = find_inputs([tmp_path], tmp_path / "out", ("_0000",))
    assert [(item.stem.name, item.source.path.name) for item in found.inputs] == [
        ("a", "a_0000.nii.gz"),
        ("scan", "scan.nii.gz"),
    ]


def test_a_channel_that_lacks_or_is_called_otherwise() -> None:
    """What does not fit is named, and the other cases are left whole."""
    paths = [Path(f"/in/{name}.nii.gz") for name in ("a_0000", "a_0001", "b_0001", "c")]
    whole, problems = grouped(paths, ("_0000", "_0001"))
    assert list(whole) == [Path("/in/a")]
    assert problems[paths[2]].startswith("/in/b_0001.nii.gz must come with b_0000 of the same folder: give all")
    assert "must be called as a channel of its case, ending in _0000, _0001" in problems[paths[3]]


def test_channels_are_put_side_by_side(tmp_path: Path) -> None:
    """The image has the channels in their order; another size or place is refused by name."""
    one, two = (np.full((3, 4, 5), value, np.float32) for value in (1, 2))
    first, second = (volume(tmp_path / f"a_{index}.nii.gz", values) for index, values in enumerate((one, two)))
    reading = Reading(files=2, suffixes=("_0", "_1"))
    image, _ = reading.image(Source(first), 3, 2, (Source(second),))
    np.testing.assert_array_equal(image[0, 0, 0], [1, 2])
    assert Reading.from_json(reading.to_json()) == reading
    with pytest.raises(BadData, match="give all of them, called as those were"):
        reading.image(Source(first), 3, 2)
    other = volume(tmp_path / "b_1.nii.gz", np.zeros((3, 4, 6), np.float32))
    with pytest.raises(BadData, match=r"b_1\.nii\.gz must have the sizes of a_0\.nii\.gz"):
        reading.image(Source(first), 3, 2, (Source(other),))
    moved = volume(tmp_path / "c_1.nii.gz", two, spacing=(1.0, 1.0, 3.0))
    with pytest.raises(BadData, match=r"c_1\.nii\.gz must lie where a_0\.nii\.gz does"):
        reading.image(Source(first), 3, 2, (Source(moved),))

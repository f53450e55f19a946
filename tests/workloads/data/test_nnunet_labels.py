"""The dataset.json of nnU-Net: labels, regions, what is not scored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from autoopt.errors import DataError
from autoopt.workloads.data.nnunet_labels import DatasetFacts, parse_dataset, read_dataset_json

WHOLE: dict[str, Any] = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "a": 1, "b": 2}}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [1, 3], "enh": 3}


def parse(**changes: Any) -> DatasetFacts:
    return parse_dataset(json.dumps({**WHOLE, **changes}), "dataset.json")


def test_labels_are_in_the_order_of_their_numbers() -> None:
    """Names come in the order of their numbers; `ignore`, the highest one, is no label."""
    found = parse(labels={"b": 2, "background": 0, "a": [1], "ignore": 3})
    assert (found.labels, found.outputs, found.ignored) == (("background", "a", "b"), 3, 3)
    assert parse(channel_names=None, modality={"0": "CT"}).channels == ("CT",)


def test_regions_are_painted_in_their_order() -> None:
    """A model of regions answers with a channel each; a value of a label map is named for what is left of a region."""
    found = parse(labels=REGIONS, regions_class_order=[2, 1, 3])
    assert (found.regions, found.paint, found.outputs) == (
        {"whole": (1, 2, 3), "core": (1, 3), "enh": (3,)},
        (2, 1, 3),
        3,
    )
    assert found.labels == ("background", "core without enh", "whole without core and enh", "enh")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": {"a": 1}}, "background is 0"),
        ({"labels": {"background": 0, "b": 2}}, "without a gap"),
        ({"labels": {"background": 0, "a": 1, "b": 1}}, "a number of its own"),
        ({"labels": {"background": 0, "a": 1, "ignore": 1}}, "the highest number, 2"),
        ({"labels": {"background": 0, "a": "x"}}, "'a' must be a number"),
        ({"labels": REGIONS}, "regions_class_order must have one label for each of the 3 regions"),
        ({"labels": REGIONS, "regions_class_order": [1, 1, 2]}, "regions_class_order"),
        ({"labels": []}, "labels must be a mapping"),
        ({"channel_names": {"1": "CT"}}, "channel_names must name the channels 0, 1"),
        ({"file_ending": 3}, "file_ending"),
    ],
)
def test_odd_files_are_refused(changes: dict[str, Any], said: str) -> None:
    """What nnU-Net would not take is refused, with the name of the file."""
    with pytest.raises(DataError) as caught:
        parse(**changes)
    assert said in str(caught.value) and "dataset.json" in str(caught.value)


def test_no_json_is_refused(tmp_path: Any) -> None:
    """A file that is no JSON, or not there, is refused with its path."""
    (tmp_path / "dataset.json").write_text("[")
    for path in (tmp_path / "dataset.json", tmp_path / "none.json"):
        with pytest.raises(DataError, match=str(path)):
            read_dataset_json(path)

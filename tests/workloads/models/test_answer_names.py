"""The names of a model's answers in the metadata of its file."""

from __future__ import annotations

import pytest

from autoopt.workloads.models.answer_names import names_said


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("names", "{0: 'nevus', 1: 'melanoma'}"),
        ("Classes", '["nevus", "melanoma"]'),
        ("id2label", '{"1": "melanoma", "0": "nevus"}'),
        ("class_to_idx", '{"melanoma": 1, "nevus": 0}'),
        ("labels", "nevus, melanoma"),
        ("labels", "nevus\nmelanoma\n"),
    ],
)
def test_names_as_exporters_write_them(key: str, text: str) -> None:
    """Lists and tables, as JSON or as Python, and plain lines are read in the order of the answers."""
    assert names_said({"author": "x", key: text}, 2) == ("nevus", "melanoma")


@pytest.mark.parametrize("text", ["", "one", "a,b,c", "a,a", "[" * 5000, "{1: 'a', 2: 'b'}"])
def test_what_does_not_name_every_answer_says_nothing(text: str) -> None:
    """Another number of names than there are answers, names that are there twice, and nonsense are no names."""
    assert names_said({"names": text}, 2) == ()

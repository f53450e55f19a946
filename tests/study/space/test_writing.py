"""A space as a file again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.study.space import load_space, shipped_spaces
from autoopt.study.space.writing import card_space, space_file
from tests.report.page.planted import CARD
from tests.worlds import HOST


@pytest.mark.parametrize("name", shipped_spaces())
def test_what_a_card_holds_is_read_as_the_same_space(name: str, tmp_path: Path) -> None:
    """The file made of the text of a space is read as that space."""
    space = load_space(name, HOST)
    (tmp_path / "space.yaml").write_text(space_file(space.text))
    assert load_space(tmp_path / "space.yaml", HOST).text == space.text


def test_ranges_stay_ranges(tmp_path: Path) -> None:
    """A range is written with its ends, step and scale, and has as many points as before."""
    text = "runtime: {name: fake, precision: f32, latency_ms: {low: 10, high: 30, step: 10}}\n"
    (tmp_path / "own.yaml").write_text(text)
    space = load_space(tmp_path / "own.yaml", HOST)
    (tmp_path / "again.yaml").write_text(space_file(space.text))
    assert load_space(tmp_path / "again.yaml", HOST).text == space.text
    counted = card_space(replace(CARD, space=space.text))
    assert counted is not None and counted.count() == space.count() and counted.raw_size == space.raw_size


def test_a_card_without_a_space_has_no_file() -> None:
    """Of a study that says nothing of its space nothing is written or counted."""
    assert space_file(CARD.space) == "" and card_space(CARD) is None

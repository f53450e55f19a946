"""Configurations in words."""

from __future__ import annotations

from autoopt.study.words import LONGEST_NAME, row_name
from tests.report.page.planted import planted_study


def test_the_names_of_rows_are_short_and_differ() -> None:
    """The name of a trial fits MLflow's table, and no two trials of a study have one name."""
    names = [row_name(record) for record in planted_study(60).records]
    assert max(map(len, names)) <= LONGEST_NAME and len(set(names)) == len(names)

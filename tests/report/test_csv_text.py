"""Tables as CSV text."""

from __future__ import annotations

import csv
import io

from hypothesis import given
from hypothesis import strategies as st

from autoopt.report.csv_text import csv_text

CELLS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0\r"), max_size=8)


@given(st.lists(st.tuples(CELLS, CELLS), max_size=5))
def test_a_table_is_read_as_it_was_written(rows: list[tuple[str, str]]) -> None:
    """Commas, quotes and line breaks in a cell stay in their cell."""
    text = csv_text(("a", "b"), rows)
    assert [tuple(row) for row in csv.reader(io.StringIO(text, newline=""))] == [("a", "b"), *rows]


def test_what_is_missing_is_an_empty_cell() -> None:
    """None is an empty cell, and every line ends in the same way."""
    assert csv_text(("a", "b"), [(None, 1.5)]) == "a,b\n,1.5\n"

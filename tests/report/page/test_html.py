"""The parts of HTML that sections share."""

from __future__ import annotations

from markupsafe import Markup

from autoopt.report.page.html import Cell, Row, element, table, text_of


def test_texts_are_escaped_and_markup_is_not() -> None:
    """Texts, in elements and attributes, are shown as they are; markup stays markup."""
    made = element("p", "<b>", Markup("<i>x</i>"), None, title='"', class_="a", hidden=True, id=None)
    assert made == '<p title="&#34;" class="a" hidden>&lt;b&gt;<i>x</i></p>'


def test_a_table_names_its_rows_and_columns() -> None:
    """Every column and row has a heading that says what it is of, rows carry their trial, cells what they sort by."""
    made = table(["trial", "p25"], [Row(["#4", Cell("6.0 ms\n5.9-6.1", 0.006)], 4, "t4")], caption="All")
    assert '<th scope="col">trial</th>' in made and '<th scope="row">#4</th>' in made
    assert '<tr id="t4" data-n="4">' in made and 'data-sort="0.006"' in made and "<small>5.9-6.1</small>" in made
    assert text_of(made) == "Alltrialp25#46.0 ms5.9-6.1"

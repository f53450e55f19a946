"""Small parts of HTML that the sections share: elements, tables, commands to copy, links to trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

Child = str | Markup | int | float | None
"""What stands in an element; text is escaped, markup is not, None is left out."""


def element(tag: str, /, *children: Child, **attributes: Child | bool) -> Markup:
    """An element of HTML or SVG with its children, text escaped.

    In the names of attributes `_` stands for `-`, and one at the end is dropped (`class_`, `for_`). An attribute of
    None or False is left out, one of True stands without a value, as HTML has it.
    """
    # Not by Markup.format, which takes most of the time of a page: here, and only here, parts are escaped one by one.
    opened = "".join([tag, *(_attribute(key, value) for key, value in attributes.items())])
    return Markup(f"<{opened}>{joined(children)}</{tag}>")  # noqa: S704


def joined(children: Sequence[Child]) -> Markup:
    """Texts and pieces of markup as one piece of markup."""
    return Markup("".join([str(escape(child)) for child in children if child is not None]))  # noqa: S704


def _attribute(key: str, value: Child | bool) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(value)}"'


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what it shows, and the number that it is sorted by where that is not what it shows."""

    shown: Child
    sort: float | str | None = None


@dataclass(frozen=True)
class Row:
    """A row of a table: its cells, the trial that it is about (highlighted with it everywhere), its anchor, class."""

    cells: Sequence[Child | Cell]
    number: int | str | None = None
    anchor: str = ""
    class_: str = ""


def table(
    header: Sequence[str],
    rows: Sequence[Row],
    *,
    caption: str = "",
    texts: Sequence[int] = (),
    sortable: bool = True,
    anchor: str = "",
) -> Markup:
    """A table whose first column names the row.

    Columns are numbers, aligned to the right, but the first one and those whose places are in `texts`. A reader can
    sort a `sortable` one by every column. A line break in a text is a second, smaller line.
    """
    columns = [
        element("th", title, scope="col", class_=None if place == 0 or place in texts else "n")
        for place, title in enumerate(header)
    ]
    head = element("thead", element("tr", *columns))
    body = element("tbody", *(_row(row, texts) for row in rows))
    label = element("caption", caption) if caption else None
    made = element("table", label, head, body, class_="sortable" if sortable else None, id=anchor or None)
    return element("div", made, class_="scroll", tabindex=0, role="region", aria_label=caption or "table")


def _row(row: Row, texts: Sequence[int]) -> Markup:
    cells = []
    for place, given in enumerate(row.cells):
        cell = given if isinstance(given, Cell) else Cell(given)
        named = {"scope": "row"} if place == 0 else {}
        style = None if place == 0 or place in texts else "n"
        shown = lines(cell.shown)
        cells.append(element("th" if place == 0 else "td", shown, class_=style, data_sort=cell.sort, **named))
    return element("tr", *cells, id=row.anchor or None, data_n=row.number, class_=row.class_ or None)


def lines(shown: Child) -> Child:
    """A text whose lines after the first are smaller and below it; markup as it is."""
    if not isinstance(shown, str) or isinstance(shown, Markup) or "\n" not in shown:
        return shown
    first, *rest = shown.split("\n")
    return joined([first, *(element("small", line) for line in rest)])


def trial_link(number: int, text: Child = None) -> Markup:
    """A link to the row of a trial in the table of all trials: its number, or `text`."""
    return element("a", f"#{number}" if text is None else text, href=f"#t{number}", data_n=number)


def command(text: str, *, name: str = "") -> Markup:
    """A command as it must be typed, with a button that copies it; `name` tells a screen reader which one it is."""
    button = element("button", "Copy", type="button", class_="copy", aria_label=f"Copy {name or 'the command'}")
    return element("div", element("code", text), button, class_="command")


def paragraph(*children: Child, class_: str | None = None, role: str | None = None) -> Markup:
    """A paragraph of texts and markup."""
    return element("p", *children, class_=class_, role=role)


def bullets(items: Sequence[Child]) -> Markup:
    """A list; nothing where it is empty."""
    return element("ul", *(element("li", item) for item in items)) if items else Markup("")


def details(summary: Child, *children: Child) -> Markup:
    """What opens at a click, also without script: its summary, and what is below it."""
    return element("details", element("summary", summary), *children)


def text_of(markup: Markup) -> str:
    """What a reader reads of a piece of markup, without its elements."""
    return str(escape(markup).striptags())

"""The front of a study as a table that fits the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from autoopt.deploy.nothing_fits import nothing_fits
from autoopt.report.tables import columns, fitting, front_notes, front_rows, natural_widths, reference_rows
from autoopt.study.result import StudyResult
from autoopt.terminal.console import console_of, width_of, wrapped


def front(result: StudyResult, *, wide: bool = False) -> None:
    """Print the front as a table with speed-ups, drop, memory and size, and the references below it.

    No line is longer than the terminal: columns that have no room are left out, and named below. With `wide` all are
    there, however long a line becomes.
    """
    console = console_of()
    width = width_of(console)
    if result.card.weights_remark:
        wrapped(console, result.card.weights_remark, width)
    if not result.front:
        wrapped(console, nothing_fits(result), width)
        return
    left_out = _table(console, result, width, wide=wide)
    if left_out:
        wrapped(console, f"Left out for want of room: {', '.join(left_out)}. --wide shows all.", width)
    for note in front_notes(result):
        wrapped(console, note, width)
    if result.stand_in:
        wrapped(console, f"Drops are not against PyTorch FP32: {result.stand_in}.", width)


def _table(console: Console, result: StudyResult, width: int, *, wide: bool) -> list[str]:
    """Print the table in so many characters; returns the titles of the columns that had no room."""
    titles = columns(result)
    members, others = front_rows(result), reference_rows(result)
    widths = natural_widths([titles, *members, *others])
    if wide:
        width = max(width, sum(widths) + 3 * len(widths) + 1)
    shown, words = fitting(result, widths, width)
    wrapped(console, f"Pareto front of {result.card.title}: study {result.card.name}", width)
    table = Table()
    for index in shown:
        if index == 1:
            table.add_column(titles[index], width=words, overflow="fold")
        else:
            table.add_column(
                titles[index], justify="left" if index == 0 else "right", no_wrap=True, min_width=widths[index]
            )
    for cells in members:
        table.add_row(*(cells[index] for index in shown))
    table.add_section()
    for cells in others:
        table.add_row(*(cells[index] for index in shown), style="dim")
    Console(highlight=False, markup=False, width=width).print(table)
    return [title for index, title in enumerate(titles) if index not in shown]

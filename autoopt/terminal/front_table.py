"""The front of a study, and its arms beside it, as tables that fit the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from autoopt.deploy.nothing_fits import nothing_fits
from autoopt.report.arms_text import arm_columns, arm_rows, arms_title
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
    wrapped(console, f"Pareto front of {result.card.title}: study {result.card.name}", width)
    _table(console, result, columns(result), (front_rows(result), reference_rows(result)), width, wide=wide)
    for note in front_notes(result):
        wrapped(console, note, width)
    if result.stand_in:
        wrapped(console, f"Drops are not against PyTorch FP32: {result.stand_in}.", width)


def arms(result: StudyResult, *, wide: bool = False) -> None:
    """Print how many arms stand where, and a table of them with the numbers of the front."""
    console, rows = console_of(), arm_rows(result)
    width = width_of(console)
    wrapped(console, arms_title(result), width)
    if rows:
        _table(console, result, arm_columns(result), (rows,), width, wide=wide)


def _table(
    console: Console,
    result: StudyResult,
    titles: Sequence[str],
    groups: Sequence[list[list[str]]],
    width: int,
    *,
    wide: bool,
) -> None:
    """Print a table in so many characters, groups of rows below each other, and which columns had no room."""
    widths = natural_widths([titles, *(cells for rows in groups for cells in rows)])
    if wide:
        width = max(width, sum(widths) + 3 * len(widths) + 1)
    shown, words = fitting(result, widths, width)
    table = Table()
    for index in shown:
        if index == 1:
            table.add_column(titles[index], width=words, overflow="fold")
        else:
            table.add_column(
                titles[index], justify="left" if index == 0 else "right", no_wrap=True, min_width=widths[index]
            )
    for place, rows in enumerate(groups):
        if place:
            table.add_section()
        for cells in rows:
            table.add_row(*(cells[index] for index in shown), style="dim" if place else None)
    Console(highlight=False, markup=False, width=width).print(table)
    left_out = [title for index, title in enumerate(titles) if index not in shown]
    if left_out:
        wrapped(console, f"Left out for want of room: {', '.join(left_out)}. --wide shows all.", width)

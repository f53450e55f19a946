"""An explanation as text: the sentences, the totals of the trials side by side, the slowest layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from autoopt.inference.runtimes.layers import Layer
from autoopt.report.explanation import PRECISION_WORDS, Explanation, Side
from autoopt.report.layer_pairs import Pair
from autoopt.report.number_text import milliseconds, percent

if TYPE_CHECKING:
    from rich.table import Table

LAYERS = 20
"""How many of the slowest layers are listed."""
STAGES = {"  before the network": "prepare_s", "  the network": "network_s", "  after it": "finish_s"}
"""The parts of a case in words, and their fields in `CaseStages`."""
_LEAST_WIDTH = 150
"""The width where the output is no terminal, in letters: enough for one line per layer."""


def explain_text(explanation: Explanation, *, layers: int = LAYERS, width: int | None = None) -> list[str]:
    """The lines that `autoopt explain` prints: sentences, totals, the slowest `layers` layers.

    `width` is that of the tables, in letters.
    """
    from io import StringIO

    from rich.console import Console

    console = Console(file=StringIO(), highlight=False, width=width or _LEAST_WIDTH, color_system=None)
    sides, card = explanation.sides, explanation.study.card
    beside = f" beside {sides[1].title}" if len(sides) > 1 else ""
    console.print(f"{sides[0].title}{beside}, study {card.name} ({card.title})", markup=False)
    for sentence in explanation.sentences:
        console.print(f"- {sentence}", markup=False, soft_wrap=True)
    for note in explanation.notes:
        console.print(f"note: {note}", markup=False, soft_wrap=True)
    console.print(_totals(explanation))
    console.print(_layers(explanation, layers))
    stream = console.file
    assert isinstance(stream, StringIO)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def _totals(explanation: Explanation) -> Table:
    from rich.table import Table

    table = Table("", *(side.title for side in explanation.sides))
    for column in table.columns[1:]:
        column.justify = "right"
    sides = explanation.sides
    table.add_row(f"recorded p25 per {explanation.study.card.latency}, ms", *(_recorded(side) for side in sides))
    cases = [side.profile.case for side in sides]
    if any(cases):
        table.add_row("a case now, ms", *("" if case is None else milliseconds(case.total_s) for case in cases))
        for name, stage in STAGES.items():
            table.add_row(name, *("" if case is None else milliseconds(getattr(case, stage)) for case in cases))
        table.add_row("calls of a case", *("" if case is None else str(case.calls) for case in cases))
    table.add_row("a call now, ms", *(milliseconds(side.profile.call_s) for side in sides))
    table.add_row("its layers added up, ms", *(milliseconds(side.profile.layers_s) for side in sides))
    for name, word in PRECISION_WORDS.items():
        if any(name in side.profile.shares for side in sides):
            table.add_row(f"share of {word}", *(percent(side.profile.shares.get(name, 0.0)) for side in sides))
    table.add_row("layers, conversions", *(_counts(side) for side in sides))
    return table


def _layers(explanation: Explanation, most: int) -> Table:
    """The slowest layers of the trial, each beside the same work in the other one; fused layers count as one."""
    from rich.table import Table

    profile, against = explanation.trial.profile, explanation.against
    pairs = list(explanation.pairs) if against is not None else [Pair((layer,), ()) for layer in profile.working]
    rows = [*pairs, *(Pair((layer,), ()) for layer in profile.conversions)]
    rows.sort(key=lambda pair: -max(pair.mine_s, pair.theirs_s))
    number = explanation.trial.record.number
    table = Table("layer", "type", f"kernel in #{number}", "precision", f"#{number} ms", "share")
    if against is not None:
        table.add_column(f"#{against.record.number} ms")
        table.add_column(f"kernel in #{against.record.number}")
    for index, column in enumerate(table.columns):
        column.justify = "right" if index in (4, 5, 6) else "left"
        column.overflow = "fold"
    total = profile.layers_s or 1.0
    for pair in rows[:most]:
        mine = max(pair.mine, key=lambda layer: layer.seconds, default=None)
        cells = [_name(pair), *_cells(mine), _time(pair.mine), percent(pair.mine_s / total)]
        if against is not None:
            theirs = max(pair.theirs, key=lambda layer: layer.seconds, default=None)
            cells += [_time(pair.theirs), "" if theirs is None else theirs.kernel]
        table.add_row(*cells)
    rest = rows[most:]
    if rest:
        seconds = [sum(pair.mine_s for pair in rest), sum(pair.theirs_s for pair in rest)]
        cells = [f"{len(rest)} more", "", "", "", milliseconds(seconds[0]), percent(seconds[0] / total)]
        table.add_row(*cells, *([] if against is None else [milliseconds(seconds[1]), ""]))
    return table


def _name(pair: Pair) -> str:
    """The name of the work, and how many more layers it takes in one of the trials, such as: conv (+1)."""
    fused = max(len(pair.mine), len(pair.theirs))
    return f"{pair.name} (+{fused - 1})" if fused > 1 else pair.name


def _cells(layer: Layer | None) -> list[str]:
    if layer is None:
        return ["not there", "", ""]
    word = PRECISION_WORDS.get(layer.precision, "?")
    return [layer.type, layer.kernel, f"{word}, conversion" if layer.conversion else word]


def _time(layers: tuple[Layer, ...]) -> str:
    return milliseconds(sum(layer.seconds for layer in layers)) if layers else "-"


def _recorded(side: Side) -> str:
    return "-" if side.recorded_s is None else milliseconds(side.recorded_s)


def _counts(side: Side) -> str:
    return f"{len(side.profile.working)}, {len(side.profile.conversions)}"

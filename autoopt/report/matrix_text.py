"""The matrix of networks, techniques and runtimes as CSV, as Markdown tables, and as a page of the documentation."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.compress.matrix import FAILED, REFUSED, SAME, TECHNIQUES, WORKS, Cell, executing
from autoopt.core.host import Host
from autoopt.report.csv_text import csv_text
from autoopt.workloads.networks.families import NETS

COLUMNS = ("net", "family", "technique", "runtime", "status", "speed_up", "agreement_db", "reason")


def as_csv(cells: Sequence[Cell]) -> str:
    """The cells as CSV, one per line."""
    return csv_text(COLUMNS, map(_row, cells))


def as_page(cells: Sequence[Cell], host: Host, *, quick: bool = False) -> str:
    """docs/matrix.md: what the tables mean, the command that made them (`quick` or not), the host, the tables."""
    command = f"autoopt matrix{' --quick' if quick else ''} --markdown docs/matrix.md --csv docs/matrix.csv"
    versions = ", ".join(f"{name} {version}" for name, version in sorted(host.versions.items()))
    kinds = (WORKS, SAME, REFUSED, FAILED)
    counts = ", ".join(f"{sum(cell.status == kind for cell in cells)} {kind}" for kind in kinds)
    missing = [net for net in NETS if all(cell.net != net for cell in cells)]
    without = f" Not in it: {', '.join(missing)}." if missing else ""
    return f"""# What works where

    {command}

Small networks of every family, with random weights and generated images. The tables say what works, what is refused and
whether it gets faster; they do not say what a trained network loses.

`1.8x 31 dB` means: 1.8 times as fast as the float network in the same runtime (shortest of calls that take turns,
{host.cores} threads), with a signal-to-noise ratio of 31 dB against the outputs of PyTorch for the same network (`=`:
identical outputs). A network that was pruned, factored or given a lower resolution is compared with itself in PyTorch.

{host.cpu}; {versions}. {len(cells)} cells: {counts}.{without}

{as_markdown(cells)}"""


def as_markdown(cells: Sequence[Cell]) -> str:
    """A table for each runtime, a row per network, a column per technique; below, the numbered reasons of refusals."""
    reasons: dict[str, int] = {}
    lines: list[str] = []
    for name in executing():
        own = [cell for cell in cells if cell.runtime == name]
        techniques = [technique for technique in TECHNIQUES if any(cell.status != SAME for cell in _of(own, technique))]
        lines += [f"### {name}", "", f"| | {' | '.join(techniques)} |", f"| --- |{' ---: |' * len(techniques)}"]
        for net in dict.fromkeys(cell.net for cell in own):
            cells_of = {cell.technique: _text(cell, reasons) for cell in own if cell.net == net}
            lines.append(f"| {net} | {' | '.join(cells_of.get(item, 'not run') for item in techniques)} |")
        lines.append("")
        same = {cell.technique: cell.reason for cell in own if cell.status == SAME and cell.technique not in techniques}
        lines += [f"No effect: {technique} ({reason})." for technique, reason in same.items()]
        lines.append("")
    lines += [f"{number}. {reason}" for reason, number in reasons.items()]
    return "\n".join(lines).strip() + "\n"


def _row(cell: Cell) -> list[str]:
    speed_up = "" if cell.speed_up is None else f"{cell.speed_up:.2f}"
    agreement = "" if cell.agreement_db is None else f"{cell.agreement_db:.1f}"
    return [cell.net, cell.family, cell.technique, cell.runtime, cell.status, speed_up, agreement, cell.reason]


def _of(cells: Sequence[Cell], technique: str) -> list[Cell]:
    return [cell for cell in cells if cell.technique == technique]


def _text(cell: Cell, reasons: dict[str, int]) -> str:
    if cell.status == WORKS:
        speed_up = "" if cell.speed_up is None else f"{cell.speed_up:.1f}x "
        return speed_up + ("=" if cell.agreement_db is None else f"{cell.agreement_db:.0f} dB")
    if cell.status == SAME:
        return "no effect"
    number = reasons.setdefault(cell.reason, len(reasons) + 1)
    return f"{cell.status} ({number})"

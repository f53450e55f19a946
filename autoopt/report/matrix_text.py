"""The matrix as CSV, as tables in Markdown, and as a page of the documentation."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from autoopt.compress.matrix import FAILED, REFUSED, SAME, TECHNIQUES, WORKS, Cell, executing
from autoopt.core.host import Host
from autoopt.workloads.networks.families import NETS

COLUMNS = ("net", "family", "technique", "runtime", "status", "speed_up", "agreement_db", "reason")


def as_csv(cells: Sequence[Cell]) -> str:
    """The cells as a table, one a line."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cell in cells:
        speed_up = "" if cell.speed_up is None else f"{cell.speed_up:.2f}"
        agreement = "" if cell.agreement_db is None else f"{cell.agreement_db:.1f}"
        writer.writerow(
            [cell.net, cell.family, cell.technique, cell.runtime, cell.status, speed_up, agreement, cell.reason]
        )
    return stream.getvalue()


def as_page(cells: Sequence[Cell], host: Host, *, quick: bool = False) -> str:
    """The tables as a page of their own, with what they mean, and the command that gave them (`quick` or not)."""
    command = f"autoopt matrix{' --quick' if quick else ''} --markdown docs/matrix.md --csv docs/matrix.csv"
    versions = ", ".join(f"{name} {version}" for name, version in sorted(host.versions.items()))
    kinds = (WORKS, SAME, REFUSED, FAILED)
    counts = ", ".join(f"{sum(cell.status == kind for cell in cells)} {kind}" for kind in kinds)
    missing = [net for net in NETS if all(cell.net != net for cell in cells)]
    without = f" Not in it: {', '.join(missing)}." if missing else ""
    return f"""# What works where

    {command}

Small networks of every family with random weights and invented images: this says what works, what is refused and which
way the time goes, not what a trained network loses. `1.8x 31 dB`: 1.8 times as fast as the float network in the same
runtime (least time of calls in turns, {host.cores} threads), with answers whose signal is 31 dB above their distance
from what PyTorch answers with the same network (`=`: no distance). Pruned, coarse and factored networks are compared
with themselves in PyTorch.

{host.cpu}; {versions}. {len(cells)} cells: {counts}.{without}

{as_markdown(cells)}"""


def as_markdown(cells: Sequence[Cell]) -> str:
    """A table for each runtime, networks down and techniques across; what is refused has its reason below."""
    reasons: dict[str, int] = {}
    lines: list[str] = []
    for name in executing():
        own = [cell for cell in cells if cell.runtime == name]
        techniques = [technique for technique in TECHNIQUES if any(cell.status != SAME for cell in _of(own, technique))]
        lines += [f"### {name}", "", f"| | {' | '.join(techniques)} |", f"| --- |{' ---: |' * len(techniques)}"]
        for net in dict.fromkeys(cell.net for cell in own):
            row = [cell for technique in techniques for cell in _of(own, technique) if cell.net == net]
            lines.append(f"| {net} | {' | '.join(_text(cell, reasons) for cell in row)} |")
        lines.append("")
        same = {cell.technique: cell.reason for cell in own if cell.status == SAME and cell.technique not in techniques}
        lines += [f"No effect: {technique} ({reason})." for technique, reason in same.items()]
        lines.append("")
    lines += [f"{number}. {reason}" for reason, number in reasons.items()]
    return "\n".join(lines).strip() + "\n"


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

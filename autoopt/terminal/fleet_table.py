"""Who is in a fleet, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from autoopt.fleet.fleet import Member
from autoopt.inference.runtimes import RUNTIMES
from autoopt.terminal.console import console_of, duration

HEADER = ("name", "role", "does", "study", "host", "versions", "free")


def show(members: Sequence[Member]) -> None:
    """Print a line for each member, and how many there are of each role."""
    console = console_of()
    rows = [HEADER, *map(_row, members)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    for row in rows if members else ():
        line = "  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True))
        console.print(line.rstrip(), markup=False)
    count = {role: sum(member.role == role for member in members) for role in ("builder", "target")}
    words = [f"{number} {role}{'' if number == 1 else 's'}" for role, number in count.items()]
    console.print(", ".join(words), markup=False)


def _row(member: Member) -> tuple[str, ...]:
    does = "nothing"
    if member.busy is not None:
        does = f"{member.busy['what']} for {duration(float(member.busy['seconds']))}"
    if member.seen_s > 20:  # a beat comes every 5 s
        does = f"not heard of for {duration(member.seen_s)}"
    host = f"{member.host.get('cpu', 'unknown')}, {member.host.get('cores', '?')} cores"
    runtimes = member.host.get("versions", {})
    names = [f"{name} {runtimes[name]}" for name in RUNTIMES if name in runtimes]
    versions = ", ".join([f"autoopt {member.versions.get('autoopt', '?')}", *names])
    free = f"{member.free_bytes / 1e9:.0f} GB"
    return (member.name, member.role, does, member.study or "-", host, versions, free)

"""What a bad day does to real searches, and what held.

    python -m benchmarks.torture [--kinds kills,disk,...] [--moments 40] [--seed 0] [--json FILE] [--begin FOLDER]

Each kind does one sort of harm to searches of the histo demo with the space `quick` and a short measuring plan. What
does not hold is named and makes the exit code 1; what cannot be tried here is said to be skipped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from autoopt.errors import AutooptError
from benchmarks.torture.commands import prepared
from benchmarks.torture.disk import disk
from benchmarks.torture.homes import homes
from benchmarks.torture.kills import kills
from benchmarks.torture.limits import limits
from benchmarks.torture.locked import locked
from benchmarks.torture.searching import DidNotHold
from benchmarks.torture.table import Kind, Setting, Tried, as_json, markdown, violated
from benchmarks.torture.terminal import terminal
from benchmarks.torture.two_hosts import two_hosts

KINDS: Mapping[str, Kind] = {
    "kills": kills,
    "disk": disk,
    "limits": limits,
    "locked": locked,
    "terminal": terminal,
    "homes": homes,
    "two-hosts": two_hosts,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Try all kinds that were asked for, print the table, return 1 when anything did not hold."""
    options = _parser().parse_args(arguments)
    found: dict[str, list[Tried]] = {}
    with prepared(options.moments, options.seed, options.begin) as setting:
        for name in options.kinds:
            found[name] = []
            for item in _told(KINDS[name], setting):
                found[name].append(item)
                state = f"skipped: {item.skipped}" if item.skipped else "; ".join(item.problems) or "held"
                print(f"{name} {item.name}: {state}", file=sys.stderr, flush=True)
    print(markdown(found))
    if options.json is not None:
        options.json.write_text(as_json(found))
    return int(violated(found))


def _told(kind: Kind, setting: Setting) -> Iterator[Tried]:
    """All that a kind tries; where it cannot go on because something never came, that is what did not hold."""
    try:
        yield from kind(setting)
    except (DidNotHold, AutooptError) as error:
        yield Tried("the rest of it", (str(error),))


def _kinds(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    unknown = [name for name in names if name not in KINDS]
    if unknown or not names:
        raise argparse.ArgumentTypeError(f"must be some of {', '.join(KINDS)}, got {text!r}")
    return names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", type=_kinds, default=list(KINDS), help=f"some of {', '.join(KINDS)}")
    parser.add_argument("--moments", type=int, default=40, help="kills, all in all")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    parser.add_argument("--json", type=Path, help="write all outcomes here")
    parser.add_argument("--begin", type=Path, help="keep the home folders to begin from here, and use those there")
    return parser


if __name__ == "__main__":
    sys.exit(main())

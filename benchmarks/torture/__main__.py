"""What a bad day does to real searches, and what held.

    python -m benchmarks.torture [--kinds kills,disk,...] [--moments 40] [--seed 0] [--json FILE] [--begin FOLDER]

Each kind does one sort of harm to searches of the histo demo with the space `quick` and a short measuring plan. What
does not hold is named and makes the exit code 1; what cannot be tried here is said to be skipped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.torture.commands import prepared
from benchmarks.torture.kills import kills
from benchmarks.torture.table import Kind, Tried, as_json, markdown, violated

KINDS: Mapping[str, Kind] = {
    "kills": kills,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Try all kinds that were asked for, print the table, return 1 when anything did not hold."""
    options = _parser().parse_args(arguments)
    found: dict[str, list[Tried]] = {}
    with prepared(options.moments, options.seed, options.begin) as setting:
        for name in options.kinds:
            found[name] = []
            for item in KINDS[name](setting):
                found[name].append(item)
                state = f"skipped: {item.skipped}" if item.skipped else "; ".join(item.problems) or "held"
                print(f"{name} {item.name}: {state}", file=sys.stderr, flush=True)
    print(markdown(found))
    if options.json is not None:
        options.json.write_text(as_json(found))
    return int(violated(found))


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

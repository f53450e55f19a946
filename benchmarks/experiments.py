"""Every published experiment that has a preset, at a reduced size on demo data: the arms beside the searched front.

    python -m benchmarks.experiments [NAME ...] [--home DIR] [--budget 24] [--minutes 10] [--json FILE]

NAME is one of the presets, all by default: the commands of docs/experiments.md with the demo data and shipped
baselines, of `--minutes` each, so that all take less than an hour. It prints for each how many arms are dominated, tied
with the front, on it or beyond the limit, and the best speed-up over OpenVINO FP32; the reports are in `reports/` of
each home folder. What is measured on demo data says nothing of patients. An experiment that ends in an error is a line
with it, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Experiment:
    """A preset: the name of its space, and the arguments of the search beside it."""

    space: str
    arguments: tuple[str, ...]


EXPERIMENTS = (
    Experiment("thakur2025-histo", ("--workload", "histo", "--max-drop", "0.005")),
    Experiment("thakur2025-dfu", ("--workload", "dfu", "--max-drop", "0.005")),
    Experiment("thakur2025-brain", ("--workload", "brain", "--max-drop", "0.01")),
    Experiment("sculpting2023", ("--workload", "cardiac", "--max-drop", "4%")),
    Experiment("energy2023", ("--workload", "histo", "--objectives", "energy,quality")),
)


NO_ENERGY = "needs a host that tells its energy"
"""What a search for energy says where there is no counter: then there is nothing to measure, which is no error."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen ones in turn, print a table in Markdown; returns the exit code."""
    names = [item.space for item in EXPERIMENTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(names)}")
    parser.add_argument("--home", type=Path, help="where the studies are kept; by default they are not")
    parser.add_argument("--budget", type=int, default=24)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    unknown = sorted(set(given.names) - set(names))
    if unknown:
        parser.error(f"NAME must be of {', '.join(names)}, got {', '.join(unknown)}")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for item in EXPERIMENTS:
            if not given.names or item.space in given.names:
                home = (given.home or Path(folder)) / item.space
                rows.append({"preset": item.space, **searched(item, home, given.budget, given.minutes)})
    print(table(rows))
    if given.json is not None:
        given.json.write_text(json.dumps(rows, indent=2))
    return int(any(row["error"] for row in rows))


def searched(item: Experiment, home: Path, budget: int, minutes: float) -> dict[str, Any]:
    """One experiment: what came of its arms and of the front, or the error that ended it."""
    words = ["search", *item.arguments, "--space", item.space, "--home", str(home), "--budget", str(budget)]
    done = _autoopt(*words, "--time", f"{minutes:g}m", "--quiet")
    shown = _autoopt("front", "--arms", "--json", "--home", str(home))
    if shown.returncode or not shown.stdout.strip():
        told = (done.stderr.strip() or shown.stderr.strip()).splitlines()[-1]
        return {"error": "", "skipped": told} if NO_ENERGY in told else {"error": told}
    front = json.loads(shown.stdout)
    best = max((member.get("speedup_vs_openvino_f32", 0.0) for member in front["front"]), default=None)
    found = [arm["status"] for arm in front["arms"]]
    counts = {status: found.count(status) for status in dict.fromkeys(found)}
    return {"error": "", "trials": front["trials"], "arms": counts, "best_speedup": best, "front": front}


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a table in Markdown."""
    lines = ["| preset (demo data) | trials | arms | best x OpenVINO FP32 |", "| --- | ---: | --- | ---: |"]
    for row in rows:
        told = row["error"] or row.get("skipped")
        if told:
            lines.append(f"| {row['preset']} | | {told} | |")
            continue
        arms = ", ".join(f"{count} {status}" for status, count in row["arms"].items()) or "none"
        best = "" if row["best_speedup"] is None else f"{row['best_speedup']:.1f}"
        lines.append(f"| {row['preset']} | {row['trials']} | {arms} | {best} |")
    return "\n".join(lines)


def _autoopt(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "autoopt", *words], capture_output=True, text=True, check=False)


if __name__ == "__main__":
    sys.exit(main())

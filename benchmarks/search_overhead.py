"""The 50-trial demo search: how long it takes, where the time goes, what it makes, how much memory it needs.

    python -m benchmarks.search_overhead [--budget 50] [--space int8] [--seed 0] [--keep DIR] [--json FILE]

Starts from nothing (a fresh folder: demo data, artifacts and studies are made anew), removes what it wrote, and
exits 1 when a goal is missed. Run it on a host that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

import autoopt
from autoopt.compress import STEPS
from autoopt.compress.export import form_of
from autoopt.core.configuration import digest
from autoopt.core.records import Status, TrialRecord
from autoopt.measure.host import current_host

if TYPE_CHECKING:
    from autoopt.study.events import SearchResult

MOST_TOTAL_S = 600.0
MOST_REST_SHARE = 0.10
MOST_FIRST_TRIAL_S = 30.0
MOST_TREE_BYTES = 4_000_000_000
SAMPLE_EVERY_S = 0.5
"""Often enough to see a stage of a second; a sample of a few processes takes about a millisecond."""


@dataclass(frozen=True)
class Goal:
    """One number that was measured, and the most it may be."""

    name: str
    value: float
    most: float
    unit: str

    @property
    def met(self) -> bool:
        """Whether the number is small enough."""
        return self.value <= self.most

    def __str__(self) -> str:
        word = "met   " if self.met else "MISSED"
        return f"{word} {self.name}: {self.value:.4g} {self.unit} (goal: at most {self.most:g})"


class TreeMemory:
    """The most memory that this process and all its children held at once, sampled.

    The sum of resident sizes counts shared pages several times, so it is an upper bound.
    """

    def __init__(self) -> None:
        self.peak_bytes = 0
        self.most_processes = 0

    @contextmanager
    def sampled(self) -> Iterator[TreeMemory]:
        """Sample while the block runs."""
        stop = threading.Event()
        thread = threading.Thread(target=self._sample, args=(stop,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            stop.set()
            thread.join()

    def _sample(self, stop: threading.Event) -> None:
        me = psutil.Process()
        while not stop.wait(SAMPLE_EVERY_S):
            sizes = [_rss(process) for process in (me, *me.children(recursive=True))]
            self.peak_bytes = max(self.peak_bytes, sum(sizes))
            self.most_processes = max(self.most_processes, len(sizes))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the search, print the report, return 0 when every goal is met, else 1."""
    options = _parser().parse_args(arguments)
    memory = TreeMemory()
    with _home(options.keep) as home:
        before_s = time.time() - psutil.Process().create_time()  # a user waits for the interpreter, too
        with memory.sampled():
            result = autoopt.search(
                "histo", budget=options.budget, space=options.space, seed=options.seed, home=home, listener=_told
            )
    goals = _goals(result, memory, before_s)
    _report(result, memory, goals)
    if options.json is not None:
        options.json.write_text(json.dumps(_as_json(result, memory, goals), indent=2) + "\n")
    return 0 if all(goal.met for goal in goals) else 1


def distinct_compressions(records: Sequence[TrialRecord]) -> int:
    """How many different compression results the records need: what must have been made, each once."""
    wanted = set()
    for record in records:
        link = digest(form_of(record.configuration.runtime))
        failed_in = None if record.failure is None else record.failure.stage
        for name in STEPS:
            settings = record.configuration.section(name)
            if settings is not None and failed_in not in ("export", name):
                link = digest([link, name, settings])
                wanted.add(link)
    return len(wanted)


def _goals(result: SearchResult, memory: TreeMemory, before_s: float) -> list[Goal]:
    seconds = result.seconds
    made = sum(result.made.get(name, 0) for name in STEPS)
    extra = abs(made - distinct_compressions(result.records))
    first_s = float("inf") if result.first_trial_s is None else result.first_trial_s + before_s
    return [
        Goal("whole search", seconds["total"], MOST_TOTAL_S, "s"),
        Goal("not making, measuring or scoring", seconds["rest"] / seconds["total"], MOST_REST_SHARE, "of the time"),
        Goal("compressions made more or less than distinct ones", extra, 0, "compressions"),
        Goal("first trial after the start of the process", first_s, MOST_FIRST_TRIAL_S, "s"),
        Goal("peak memory of the process tree", memory.peak_bytes, MOST_TREE_BYTES, "bytes"),
    ]


def _report(result: SearchResult, memory: TreeMemory, goals: Sequence[Goal]) -> None:
    host = current_host()
    print(f"host      {host.cpu}, {host.arch}, {host.cores} cores, {host.memory_bytes / 1e9:.1f} GB")
    print(f"          instruction sets {', '.join(host.isa) or 'unknown'}")
    print(f"          {host.system}, load average {os.getloadavg()[0]:.1f} at the end")
    print(f"versions  autoopt {autoopt.__version__}, {', '.join(f'{k} {v}' for k, v in sorted(host.versions.items()))}")
    counts = ", ".join(f"{sum(r.status is status for r in result.records)} {status}" for status in Status)
    print(f"search    {result.study.card.title}: {len(result.records)} trials ({counts}), {result.stopped}")
    parts = [
        f"{kind} {s:.1f} s ({s / result.seconds['total']:.1%})" for kind, s in result.seconds.items() if kind != "total"
    ]
    print(f"time      {result.seconds['total']:.1f} s = {' + '.join(parts)}")
    print(f"artifacts made {dict(result.made)}, reused {dict(result.reused)}")
    print(f"          {distinct_compressions(result.records)} distinct compressions over {len(result.records)} trials")
    print(f"memory    {memory.peak_bytes / 1e9:.2f} GB in at most {memory.most_processes} processes at once")
    for goal in goals:
        print(goal)


def _as_json(result: SearchResult, memory: TreeMemory, goals: Sequence[Goal]) -> dict[str, Any]:
    host = current_host()
    return {
        "host": {"cpu": host.cpu, "cores": host.cores, "isa": list(host.isa), "versions": dict(host.versions)},
        "demo": result.study.card.demo,
        "trials": len(result.records),
        "seconds": dict(result.seconds),
        "made": dict(result.made),
        "reused": dict(result.reused),
        "peak_tree_bytes": memory.peak_bytes,
        "goals": [{"name": g.name, "value": g.value, "most": g.most, "unit": g.unit, "met": g.met} for g in goals],
    }


def _told(progress: Any) -> None:
    if progress.record is not None:
        record = progress.record
        spent = ", ".join(f"{kind} {seconds:.1f} s" for kind, seconds in record.seconds.items())
        print(f"  {record.number + 1}/{progress.budget} {record.status}: {spent}", file=sys.stderr)


@contextmanager
def _home(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        yield keep
        return
    with tempfile.TemporaryDirectory(prefix="autoopt-benchmark-") as folder:
        yield Path(folder)


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # it ended between being listed and being asked
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--budget", type=int, default=50)
    parser.add_argument("--space", default="int8")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="an empty folder to keep all state in, instead of a temporary one")
    parser.add_argument("--json", type=Path, help="a file to write the numbers to")
    return parser


if __name__ == "__main__":
    sys.exit(main())

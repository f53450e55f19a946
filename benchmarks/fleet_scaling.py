"""How a fleet scales: 1, 2, 4 and 8 targets on this machine, which sleep where others measure.

    python -m benchmarks.fleet_scaling [--targets 1 2 4 8] [--seconds 4] [--runs 4] [--bytes 1000000]

Each target does so many runs, one at a time, each with a fresh artifact of so many bytes; the driver gives the next one
to a target that is free. Printed: the share of what as many times one target alone would do in the time, and what the
agent of an idle target takes of a core. All processes share the cores of this machine; the first run of each target,
which starts its child process, is not counted.
"""

from __future__ import annotations

import argparse
import os
import queue
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil

from autoopt.fleet.certificates import init
from autoopt.fleet.fleet import Fleet
from tests.fleet.cluster import Cluster

IDLE_S = 12.0


def run(fleet: Fleet, free: queue.Queue[str], name: str, seconds: float, size: int, journal: Path) -> None:
    """One artifact goes to a target that is free, which then measures it."""
    target = free.get()
    try:
        request = {"session": "scaling", "run": name, "name": name, "seconds": seconds, "journal": str(journal)}
        fleet.call(target, {**request, "do": "sleep"}, os.urandom(size), stage="measure", timeout_s=60 + seconds)
    finally:
        free.put(target)


def measured(count: int, seconds: float, runs: int, size: int) -> tuple[float, float, list[float]]:
    """Seconds for all runs of `count` targets, seconds to start and meet, and each idle agent's share of a core."""
    with tempfile.TemporaryDirectory() as name:
        folder, began = Path(name), time.monotonic()
        init(folder / "certs")
        names = [f"target-{number}" for number in range(count)]
        with Cluster(folder, folder / "certs") as cluster:
            cluster.start_hub()
            cluster.wait_for("hub")
            for target in names:
                cluster.start_member(target)
            for target in names:
                cluster.wait_for(target)
            with cluster.fleet() as fleet, ThreadPoolExecutor(count) as pool:
                met_s, journal = time.monotonic() - began, folder / "journal"
                free: queue.Queue[str] = queue.Queue()
                for target in names:
                    fleet.claim(target)
                    free.put(target)
                list(pool.map(lambda n: run(fleet, free, f"warm-{n}", 0.0, size, journal), range(count)))
                began = time.monotonic()
                list(pool.map(lambda n: run(fleet, free, f"run-{n}", seconds, size, journal), range(runs * count)))
                wall_s = time.monotonic() - began
                return wall_s, met_s, idle(cluster, names)


def idle(cluster: Cluster, names: list[str]) -> list[float]:
    """The share of a core that each agent takes while nothing is asked of it."""
    processes = [psutil.Process(cluster.processes[name].pid) for name in names]
    before, began = [sum(process.cpu_times()[:2]) for process in processes], time.monotonic()
    time.sleep(IDLE_S)
    wall_s = time.monotonic() - began
    return [
        (sum(process.cpu_times()[:2]) - earlier) / wall_s for process, earlier in zip(processes, before, strict=True)
    ]


def main() -> None:
    """Measure and print a line for each number of targets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--bytes", type=int, default=1_000_000)
    arguments = parser.parse_args()
    print("| targets | runs | wall s | of the ideal | of one target's rate | start s | an idle agent |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    alone = None
    for count in arguments.targets:
        wall_s, met_s, shares = measured(count, arguments.seconds, arguments.runs, arguments.bytes)
        rate = count * arguments.runs / wall_s
        alone = alone or rate / count
        ideal = arguments.runs * arguments.seconds / wall_s
        line = (count, count * arguments.runs, f"{wall_s:.1f}", f"{ideal:.0%}", f"{rate / alone / count:.0%}")
        print("|", " | ".join(map(str, line)), f"| {met_s:.1f} | {sum(shares) / count:.1%} |", flush=True)


if __name__ == "__main__":
    main()

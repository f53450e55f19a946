"""A study of 24 trials on a fleet of this machine whose parts are killed at random moments.

    python -m benchmarks.fleet_kills [--seed 1] [--kills 8]

Hub, builder and target are started again by a loop, as systemd does; the search is started again with the same command.
Printed: who was killed when, how long it took, how many of 24 trials are complete. Exits 1 unless all are.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

import autoopt
from autoopt.core.records import Status
from autoopt.fleet.certificates import init
from tests.e2e.helpers import project
from tests.fleet.cluster import Cluster

TRIALS = 24
SPACE = """
description: the fake runtime
runtime:
  name: fake
  threads: 1
  latency_ms: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
  error: [0.0, 0.004, 0.01, 0.2]
"""
AGAIN = 'while true; do "$@"; sleep 1; done'
KEEPER = "autoopt.measure.remote.keeper"
LONGEST_S = 900.0


class Supervised(Cluster):
    """A fleet whose processes are started again when they end."""

    def _start(self, name: str, module: str, *arguments: str) -> None:
        command = ["bash", "-c", AGAIN, "supervisor", sys.executable, "-m", module, *arguments]
        with (self.folder / name).open("ab") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def kill(who: str, cluster: Supervised, search: subprocess.Popen[bytes]) -> None:
    """Kill a part of the fleet, or the search with all that it started."""
    if who == "search":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(search.pid, 9)
        search.wait()
        return
    tree = psutil.Process(cluster.processes["ward" if who == "keeper" else who].pid).children(recursive=True)
    keepers = [process for process in tree if KEEPER in process.cmdline()]
    for process in keepers if who == "keeper" else tree[:1]:
        process.kill()


def main() -> int:
    """Run the study and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=8)
    arguments = parser.parse_args()
    chance, killed = random.Random(arguments.seed), 0  # noqa: S311 - not a secret
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        init(folder / "certs")
        with Supervised(folder, folder / "certs") as cluster:
            cluster.start_hub("--lost-after", "5s")
            cluster.wait_for("hub")
            cluster.start_builder("big", folder / "big-home")
            cluster.start_target("ward", folder / "ward-home")
            for member in ("big", "ward"):
                cluster.wait_for(member)
            fleet = ["--fleet", str(cluster.hub), "--certs", str(folder / "certs" / "client"), "--no-early-stop"]
            command = [sys.executable, "-m", "tests.e2e.quick", "search", *project(folder, SPACE), *fleet]
            command += ["--budget", str(TRIALS), "--max-drop", "0.5", "--quiet"]
            search, began = subprocess.Popen(command, start_new_session=True), time.monotonic()
            after = began + 12
            while time.monotonic() < began + LONGEST_S and search.poll() is None:
                time.sleep(0.2)
                if time.monotonic() > after and killed < arguments.kills:
                    who = chance.choice(["hub", "big", "ward", "keeper", "search"])
                    kill(who, cluster, search)
                    print(f"{time.monotonic() - began:.1f} s: killed {who}", flush=True)
                    if who == "search":
                        search = subprocess.Popen(command, start_new_session=True)
                    killed, after = killed + 1, time.monotonic() + chance.uniform(4, 15)
            kill("search", cluster, search)
            wall_s = time.monotonic() - began
        records = autoopt.front(home=folder / "mlruns").records
    complete = sum(record.status is Status.COMPLETE for record in records)
    print(f"{complete} of {TRIALS} trials complete, {len(records)} stored, {killed} kills, {wall_s:.0f} s")
    return 0 if complete == len(records) == TRIALS else 1


if __name__ == "__main__":
    sys.exit(main())

"""A front of six in the registry of a real server: what registering costs, and pulling one of it over http.

    python -m benchmarks.registry [--members 6] [--megabytes 2] [--pulls 10] [--json FILE]

The trials are invented, their artifacts are files of random bytes, the server is `mlflow server` on loopback with
SQLite, started and ended here. A pull is timed in this process (with what it imports already there), and as the command
in a process of its own. Exits 1 when a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import autoopt
from autoopt.core.card import StudyCard
from autoopt.core.configuration import Configuration, Scalar
from autoopt.core.measurement import Measurement
from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import CaseScore, Quality
from autoopt.core.store import Store
from autoopt.measure.host import current_host
from autoopt.study.result import StudyResult
from autoopt.study.sink import opened
from autoopt.testing.example import PIPELINE
from autoopt.tracking import Tracker
from autoopt.tracking.register import register

MOST_PULL_S, MOST_REGISTER_S = 1.0, 60.0
START_S = 300.0
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The URI of an MLflow server with its state in `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1", "--serve-artifacts"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", f"{folder}/files"]
    with (folder / "log").open("wb") as log:
        environment = {**os.environ, **QUIET}
        running = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            end = time.monotonic() + START_S
            while running.poll() is None and time.monotonic() < end:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except OSError:
                    time.sleep(0.5)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


def study(members: int) -> StudyResult:
    """A study whose trials are all on its front: each slower than the one before, and better."""
    host = current_host()
    labels, objectives = ("background", "foreground"), ("latency", "quality")
    card = StudyCard("bench-1", "bench", True, "dice", "d" * 64, "w" * 64, "{}", objectives, 0, host, {"drop": 0.5})
    card = replace(card, labels=labels, pipeline=PIPELINE.to_json(), id="bench")
    records = []
    for number in range(members):
        latency_s, value = 0.01 * (members - number), 0.9 - 0.01 * number
        turns = (((latency_s,) * 5,) * 3,)
        measured = Measurement(turns, ((),), (latency_s,), 0.1, 0.1, 10**8, 10**6, {}, host.fingerprint)
        cases = tuple(CaseScore(f"c{index}", f"g{index}", {"dice": value}) for index in range(20))
        settings: dict[str, Scalar] = {"name": "openvino", "precision": "f32", "threads": number + 1, "streams": 1}
        made = TrialRecord(
            Configuration.of({"runtime": settings}),
            Status.COMPLETE,
            number,
            "seed" if number == 0 else "sampler",
            "openvino f32" if number == 0 else "",
            (f"key{number}",),
            measured,
            Quality("val", "dice", "mean", {"dice": value}, cases),
        )
        records.append(made)
    return StudyResult(card, tuple(records))


def fill(store: Store, members: int, megabytes: float) -> None:
    """Artifacts of random bytes for all trials."""

    def build(folder: Path) -> Mapping[str, Any]:
        (folder / "model.xml").write_text("<net/>")
        (folder / "model.bin").write_bytes(np.random.default_rng().bytes(int(megabytes * 1e6)))
        return {}

    for number in range(members):
        store.put("model", f"key{number}", {}, build)


def timed(call: Callable[[], object]) -> float:
    """The seconds of a call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> int:
    """Measure, print, and say whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--members", type=int, default=6)
    parser.add_argument("--megabytes", type=float, default=2.0)
    parser.add_argument("--pulls", type=int, default=10)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, result = Path(name), study(given.members)
        home, here = folder / "home", current_host().fingerprint
        fill(Store(home / "store"), given.members, given.megabytes)
        with server(folder) as uri:
            with opened([Tracker(uri, home)], result):
                pass
            first_s = timed(lambda: register(result, Store(home / "store"), uri, home, here))
            again_s = timed(lambda: register(result, Store(home / "store"), uri, home, here))
            wanted = "models:/autoopt-bench@demo-fastest"
            pulls = [timed(lambda: autoopt.pull(folder / "out", wanted, tracking_uri=uri)) for _ in range(given.pulls)]
            words = ["pull", wanted, "--tracking-uri", uri, "-o", str(folder / "out")]
            command = [sys.executable, "-m", "autoopt", *words]
            whole_s = timed(lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL))
    found = {
        "register_s": first_s,
        "register_again_s": again_s,
        "pull_s": statistics.median(pulls),
        "pull_slowest_s": max(pulls),
        "pull_command_s": whole_s,
    }
    print(f"{given.members} members of {given.megabytes:g} MB, load average {os.getloadavg()[0]:.1f}")
    for key, seconds in found.items():
        print(f"{key:18} {seconds:8.2f}")
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1))
    return 0 if found["pull_s"] <= MOST_PULL_S and first_s <= MOST_REGISTER_S else 1


if __name__ == "__main__":
    sys.exit(main())

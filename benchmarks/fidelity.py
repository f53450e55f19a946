"""One artifact by autoopt and by OpenVINO's own benchmark_app, side by side: do the latencies agree?

    python -m benchmarks.fidelity [--repetitions 10] [--seconds 3] [--json FILE]

Same file, threads, one stream, FP32, synchronous calls of one image. A measurement of one is followed or preceded at
random by one of the other; the medians of both are compared, because that is what benchmark_app tells.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np

from autoopt.core import stats
from autoopt.measure.host import current_host
from autoopt.measure.measuring import measure
from autoopt.measure.reference_worker import ReferenceWorker
from autoopt.measure.station import LocalStation
from autoopt.measure.subject import Subject
from autoopt.measure.timing import MeasuringPlan
from autoopt.study.prepare import prepare
from autoopt.study.request import SearchRequest
from autoopt.study.trial.bench import Bench, open_bench

MOST = 0.03
APP = Path(sys.executable).parent / "benchmark_app"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure by turns, print the ratio, return 0 when it is within `MOST` of 1."""
    options = _parser().parse_args(arguments)
    host = current_host()
    order = random.Random(0)  # noqa: S311
    print(f"host      {host.cpu}, {host.cores} cores")
    with (
        tempfile.TemporaryDirectory(prefix="autoopt-") as folder,
        open_bench(prepare(SearchRequest(workload="histo", space="quick", home=Path(folder)))) as bench,
    ):
        bench.maker.check()
        reference_worker = bench.reference.worker()
        assert reference_worker is not None
        ratios = []
        for index in range(options.repetitions):
            pair = {"ours": 0.0, "theirs": 0.0}
            for name in order.sample(list(pair), 2):
                pair[name] = (
                    _ours(reference_worker, bench, options.seconds)
                    if name == "ours"
                    else _theirs(reference_worker.subject, host.cores, options.seconds)
                )
            ratios.append(pair["ours"] / pair["theirs"])
            print(f"{index + 1} ours {pair['ours'] * 1e3:.2f} ms, theirs {pair['theirs'] * 1e3:.2f} ms")
    logs = np.log(ratios)
    ratio, error = math.exp(float(np.median(logs))), float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    print(f"{'met   ' if abs(ratio - 1) <= MOST else 'MISSED'} autoopt over benchmark_app: {ratio:.4f} +- {error:.4f}")
    if options.json is not None:
        options.json.write_text(json.dumps({"ratio": ratio, "error": error, "ratios": ratios}, indent=2) + "\n")
    return 0 if abs(ratio - 1) <= MOST else 1


def _ours(reference_worker: ReferenceWorker, bench: Bench, seconds: float) -> float:
    """The median of the calls of one fresh process that takes turns with the reference for so long."""
    rounds = max(2, round(seconds / MeasuringPlan.turn_s / 4))
    plan = MeasuringPlan(processes=1, rounds=rounds, most_rounds=rounds, max_s=10 * seconds)
    measured, _ = measure(
        reference_worker.subject,
        cast(LocalStation, bench.station).target,
        plan=plan,
        reference_worker=reference_worker,
        predict=False,
    )
    return stats.quantile(measured.calls_s[0], 0.5)


def _theirs(subject: Subject, threads: int, seconds: float) -> float:
    """The median that benchmark_app prints."""
    command = [
        str(APP),
        "-m",
        str(subject.artifact.path / "model.xml"),
        "-d",
        "CPU",
        "-api",
        "sync",
        "-hint",
        "none",
        "-nthreads",
        str(threads),
        "-nstreams",
        "1",
        "-infer_precision",
        "f32",
        "-t",
        str(max(1, round(seconds))),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Median:\s*([\d.]+) ms", done.stdout)
    if found is None:
        raise SystemExit(f"benchmark_app gave no median:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
    return float(found.group(1)) / 1e3


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fidelity", description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--json", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())

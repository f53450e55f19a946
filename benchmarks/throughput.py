"""The throughput of one artifact by autoopt and by OpenVINO's benchmark_app with its throughput hint: do they agree?

    python -m benchmarks.throughput [--repetitions 10] [--seconds 4] [--json FILE]

The demo net of histo in INT8 with all cores, one image a call, as many calls at once as the plugin asks for. A
measurement of one is followed or preceded at random by one of the other. The median turn is compared, as it came and
not corrected for drift, because benchmark_app divides all its calls by all its time.
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

from autoopt.compress.chain import Stages, make
from autoopt.core import stats
from autoopt.measure.host import current_host
from autoopt.measure.measuring import Measuring
from autoopt.measure.station import LocalStation
from autoopt.measure.subject import Subject
from autoopt.measure.taking import LocalTaking
from autoopt.measure.timing import MeasuringPlan
from autoopt.measure.workers import Workers
from autoopt.study.prepare import prepare
from autoopt.study.request import SearchRequest
from autoopt.study.space import Space, seeds
from autoopt.study.trial.bench import Bench, open_bench

MOST = 0.05
APP = Path(sys.executable).parent / "benchmark_app"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure by turns, print the ratio, return 0 when it is within `MOST` of 1."""
    options = _parser().parse_args(arguments)
    host = current_host()
    order = random.Random(0)  # noqa: S311
    print(f"host      {host.cpu}, {host.cores} cores")
    with tempfile.TemporaryDirectory(prefix="autoopt-") as folder:
        prepared = prepare(SearchRequest("histo", space="int8", home=Path(folder)))
        with open_bench(prepared) as bench:
            bench.maker.check()
            subject, ratios = _subject(bench, prepared.space), []
            print(f"artifact  {subject.artifact.size_bytes / 1e6:.2f} MB, {dict(subject.runtime)}")
            for index in range(options.repetitions):
                pair = {"ours": 0.0, "theirs": 0.0}
                for name in order.sample(list(pair), 2):
                    ours = name == "ours"
                    pair[name] = _ours(subject, bench, options.seconds) if ours else _theirs(subject, options.seconds)
                ratios.append(pair["ours"] / pair["theirs"])
                print(
                    f"{index + 1:<3} ours {pair['ours']:.2f} calls/s, theirs {pair['theirs']:.2f} calls/s", flush=True
                )
    logs = np.log(ratios)
    ratio, error = math.exp(float(np.median(logs))), float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    print(f"{'met   ' if abs(ratio - 1) <= MOST else 'MISSED'} autoopt over benchmark_app: {ratio:.4f} +- {error:.4f}")
    if options.json is not None:
        options.json.write_text(json.dumps({"ratio": ratio, "error": error, "ratios": ratios}, indent=2) + "\n")
    return 0 if abs(ratio - 1) <= MOST else 1


def _subject(bench: Bench, space: Space) -> Subject:
    """The plain INT8 graph in OpenVINO, with as many threads as the space has."""
    configuration = next(seed.configuration for seed in seeds(space) if seed.label == "openvino int8")
    pipeline = bench.workload.pipeline
    artifact = make(configuration, bench.maker, pipeline, Stages(lambda stage: None))[-1]
    return Subject(artifact, configuration.runtime, pipeline, bench.cases)


def _ours(subject: Subject, bench: Bench, seconds: float) -> float:
    """Calls per second of the median turn of one fresh process."""
    rounds = max(2, round(seconds / MeasuringPlan.concurrent_turn_s))
    plan = MeasuringPlan(processes=1, rounds=1, most_rounds=1, concurrent_rounds=rounds)
    with Workers(subject.runtime, cast(LocalStation, bench.station).target) as workers:
        measuring = Measuring(LocalTaking(subject, workers, plan=plan), throughput=True)
        measuring.first(predict=False)
        (turns,) = measuring.finish().concurrent_s
    return 1 / stats.quantile([seconds for turn in turns for seconds in turn], 0.5)


def _theirs(subject: Subject, seconds: float) -> float:
    """The throughput that benchmark_app prints."""
    named = {
        "-m": subject.artifact.path / "model.xml",
        "-d": "CPU",
        "-api": "async",
        "-hint": "throughput",
        "-infer_precision": "f32",
        "-t": max(1, round(seconds)),
    }
    command = [str(APP), *(str(word) for pair in named.items() for word in pair)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"Throughput:\s*([\d.]+) FPS", done.stdout)
    if found is None:
        raise SystemExit(f"benchmark_app gave no throughput:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
    return float(found.group(1))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.throughput", description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--json", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""The A/A test: one model against itself. How far measurements of the same thing differ, and how often they are ties.

    python -m benchmarks.aa [--repetitions 40] [--busy] [--protocols] [--json FILE]

`--busy` keeps a second core busy meanwhile. `--protocols` compares turns of several lengths, from single alternating
calls on, and several estimators on the same samples. The model is the histo demo net in OpenVINO FP32 with all cores.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np

from autoopt.core import stats
from autoopt.core.measurement import Measurement, joined
from autoopt.measure.host import current_host
from autoopt.measure.measuring import measure
from autoopt.measure.reference_worker import ReferenceWorker
from autoopt.measure.station import LocalStation
from autoopt.measure.timing import MeasuringPlan
from autoopt.study import uncertainty
from autoopt.study.prepare import prepare
from autoopt.study.request import SearchRequest
from autoopt.study.trial.bench import Bench, open_bench
from benchmarks.load import beside

LEAST_TIED = 0.95
BUSY = "while True: pass"
CALIBRATION = 6
"""Processes whose spread is the noise that every interval gets, as in a study."""
PROTOCOLS = {
    "single calls in turn": MeasuringPlan(turn_s=0.0, dropped_calls=0, turn_min_calls=1, rounds=25, most_rounds=25),
    "turns of 0.05 s": MeasuringPlan(
        turn_s=0.05, dropped_calls=1, turn_min_calls=2, rounds=10, most_rounds=10, max_s=60
    ),
    "turns of 0.12 s": MeasuringPlan(turn_s=0.12, dropped_calls=2, turn_min_calls=3, rounds=6, most_rounds=6),
    "turns of 0.3 s": MeasuringPlan(turn_s=0.3, dropped_calls=2, turn_min_calls=3, rounds=3, most_rounds=3),
}
"""Much the same time each."""

Rounds = Sequence[Sequence[float]]
Estimator = Callable[[Rounds, Rounds], float]


def pooled(q: float) -> Estimator:
    """The log ratio of a quantile of all calls."""
    return lambda a, b: math.log(np.quantile(np.concatenate(a), q) / np.quantile(np.concatenate(b), q))


def by_round(q: float) -> Estimator:
    """The median over rounds of the log ratio of a quantile in each."""
    return lambda a, b: float(
        np.median([math.log(np.quantile(x, q) / np.quantile(y, q)) for x, y in zip(a, b, strict=True)])
    )


ESTIMATORS: dict[str, Estimator] = {
    "p25 of all calls": pooled(0.25),
    "median of all calls": pooled(0.5),
    "minimum of all calls": pooled(0.0),
    "median over rounds of p25": by_round(0.25),
    "mean of all calls": lambda a, b: math.log(np.mean(np.concatenate(a)) / np.mean(np.concatenate(b))),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the test, print the figures, return 0 when at least `LEAST_TIED` of the pairs are ties."""
    options = _parser().parse_args(arguments)
    host = current_host()
    print(f"host      {host.cpu}, {host.cores} cores; {'a busy second core' if options.busy else 'quiet'}")
    with tempfile.TemporaryDirectory(prefix="autoopt-") as folder, _bench(Path(folder)) as bench:
        reference_worker = bench.reference.worker()
        assert reference_worker is not None
        with beside(BUSY if options.busy else None):
            found = (
                _protocols(reference_worker, bench)
                if options.protocols
                else _ties(reference_worker, bench, options.repetitions)
            )
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if found.get("tied", 1.0) >= LEAST_TIED else 1


def _ties(reference_worker: ReferenceWorker, bench: Bench, repetitions: int) -> dict[str, float]:
    """Pairs of trials of two processes each: how many come out tied, with the noise of a study's own A/A test."""
    plan = MeasuringPlan(processes=1)
    calibration = [_process(reference_worker, bench, plan) for _ in range(CALIBRATION)]
    sigma = max(
        uncertainty.LEAST_SIGMA,
        stats.process_noise([m.turns_s[0] for m in calibration], [m.reference_s[0] for m in calibration]),
    )
    tied, differences, raw = 0, [], []
    for index in range(repetitions):
        a, b = (
            joined(_process(reference_worker, bench, plan), _process(reference_worker, bench, plan)) for _ in range(2)
        )
        difference = uncertainty.slower(a, b, sigma)
        differences.append(difference.value)
        raw.append(math.log(a.raw_p25_s / b.raw_p25_s))
        tied += uncertainty.same_speed(a, b, sigma)
        print(f"{index + 1}/{repetitions} ratio {difference.ratio:.4f} +- {difference.error:.4f}", file=sys.stderr)
    found = {
        "sigma": sigma,
        "tied": tied / repetitions,
        "rms_paired": float(np.sqrt(np.mean(np.square(differences)))),
        "largest_paired": float(np.max(np.abs(differences))),
        "rms_raw": float(np.sqrt(np.mean(np.square(raw)))),
        "largest_raw": float(np.max(np.abs(raw))),
    }
    print(f"processes of one model differ by {sigma:.2%} (standard deviation, {CALIBRATION} processes)")
    print(f"tied      {tied} of {repetitions} pairs of two processes (goal: at least {LEAST_TIED:.0%})")
    for name, words in (("paired", "beside the reference"), ("raw", "one after the other")):
        print(f"{words:<22} rms {found[f'rms_{name}']:.2%}, largest {found[f'largest_{name}']:.2%}")
    return found


def _protocols(reference_worker: ReferenceWorker, bench: Bench, repetitions: int = 20) -> dict[str, float]:
    """The spread of every estimator in every protocol, over fresh processes of the same model."""
    found = {}
    print(f"rms of the log ratio of the model to itself, over {repetitions} fresh processes:")
    for name, plan in PROTOCOLS.items():
        measured = [_process(reference_worker, bench, _with_one_process(plan)) for _ in range(repetitions)]
        for words, estimator in ESTIMATORS.items():
            values = [estimator(m.turns_s[0], m.reference_s[0]) for m in measured]
            found[f"{name}, {words}"] = float(np.sqrt(np.mean(np.square(values))))
            bias = float(np.mean(values))
            print(f"  {name:<22} {words:<28} {found[f'{name}, {words}']:.2%} (mean {bias:+.2%})")
        level = float(np.mean([stats.quantile(m.calls_s[0], 0.25) for m in measured]))
        print(f"  {name:<22} mean p25 {level * 1e3:.2f} ms")
    return found


def _process(reference_worker: ReferenceWorker, bench: Bench, plan: MeasuringPlan) -> Measurement:
    measured, _ = measure(
        reference_worker.subject,
        cast(LocalStation, bench.station).target,
        plan=plan,
        reference_worker=reference_worker,
        predict=False,
    )
    return measured


def _with_one_process(plan: MeasuringPlan) -> MeasuringPlan:
    return MeasuringPlan.from_json({**plan.to_json(), "processes": 1})


@contextmanager
def _bench(home: Path) -> Iterator[Bench]:
    with open_bench(prepare(SearchRequest(workload="histo", space="quick", home=home))) as bench:
        bench.maker.check()
        yield bench


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.aa", description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=40)
    parser.add_argument("--busy", action="store_true", help="keep a second core busy")
    parser.add_argument("--protocols", action="store_true", help="compare lengths of turns and estimators")
    parser.add_argument("--json", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())

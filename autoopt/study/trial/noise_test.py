"""`autoopt doctor --noise`: the A/A test of a host and its peaks, measured and kept for later studies."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from autoopt.core import stats
from autoopt.core.measurement import Measurement
from autoopt.core.scratch import scratch_folder
from autoopt.core.store import writable_folder
from autoopt.errors import Unsupported
from autoopt.inference.roofline import Peaks
from autoopt.measure.measuring import measure
from autoopt.measure.noise import Noise, keep_noise
from autoopt.measure.peaks import keep_peaks, measure_peaks
from autoopt.measure.timing import MeasuringPlan
from autoopt.study import uncertainty
from autoopt.study.prepare import prepare
from autoopt.study.request import SearchRequest
from autoopt.study.trial.bench import open_bench

PROCESSES = 16
"""Fresh processes of the A/A test: about two seconds each."""
QUANTILES, USUAL = (0.1, 0.25, 0.5), MeasuringPlan.quantile
"""The quantiles of the calls that the ratio to the reference may be taken of; the usual one unless another is clearly
better."""
CLEARLY_BETTER = 0.8
"""The false differences of another quantile must be smaller by this factor: sixteen processes leave room for chance."""
WORKLOAD, SPACE = "histo", "quick"
"""The workload whose demo net is measured against itself."""


def calibrate(
    home: Path, *, processes: int = PROCESSES, on_stage: Callable[[str], None] = lambda stage: None
) -> tuple[Noise, Peaks]:
    """Measure the histo demo net against itself in fresh processes, then the peaks with all cores; keep both in `home`.

    Raises UsageError, BusyError while another measurement runs, TrialError when OpenVINO cannot run.
    """
    home = writable_folder(home)
    with scratch_folder() as folder:
        prepared = prepare(SearchRequest(workload=WORKLOAD, space=SPACE, home=folder))
        with open_bench(prepared, on_stage=on_stage) as bench:
            bench.maker.check()
            reference_worker = bench.reference.worker()
            if reference_worker is None:
                raise Unsupported(
                    f"an A/A test needs a runtime that works here: {bench.reference.refused}", stage="noise"
                )
            plan = MeasuringPlan(processes=1)
            measured = []
            for index in range(processes):
                on_stage(f"A/A {index + 1} of {processes}")
                found, _ = measure(
                    reference_worker.subject,
                    prepared.target,
                    plan=plan,
                    reference_worker=reference_worker,
                    predict=False,
                )
                measured.append(found)
    noise = noise_of(measured)
    on_stage("peaks")
    peaks = measure_peaks(prepared.target, prepared.host.cores)
    keep_noise(home, prepared.host, noise)
    keep_peaks(home, prepared.host, peaks)
    return noise, peaks


def noise_of(measured: Sequence[Measurement]) -> Noise:
    """The noise that single-process measurements of the reference beside itself show. Raises ValueError for one."""
    turns, others = [item.turns_s[0] for item in measured], [item.reference_s[0] for item in measured]
    false = {
        q: _rms([stats.paired_ratio([a], [b], q=q).value for a, b in zip(turns, others, strict=True)])
        for q in QUANTILES
    }
    best = min(QUANTILES, key=lambda q: false[q])
    quantile = best if false[best] < CLEARLY_BETTER * false[USUAL] else USUAL
    sigma = max(uncertainty.LEAST_SIGMA, stats.process_noise(turns, others, q=quantile))
    errors = [stats.paired_ratio([a], [b], q=quantile).error for a, b in zip(turns, others, strict=True)]
    # Two trials of the usual number of processes each, both beside the reference.
    error = math.sqrt(2 * (_rms(errors) ** 2 + sigma**2) / MeasuringPlan.processes)
    return Noise(
        sigma=sigma,
        floor=math.expm1(stats.normal_quantile(0.5 + stats.CONFIDENCE / 2) * error),
        processes=len(measured),
        estimators={f"paired p{100 * q:g}": value for q, value in false.items()}
        | {"alone p25": _spread([math.log(item.raw_p25_s) for item in measured])},
        quantile=quantile,
    )


def _rms(values: Sequence[float]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _spread(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) * math.sqrt(2)  # of the difference of two

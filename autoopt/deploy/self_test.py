"""What a bundle needs to test itself: golden inputs with their answers, the settings that really ran, a latency band.

All is found by running the very artifact in fresh processes (self_test_process.py), when a bundle is written and again
when it is checked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from autoopt.core import memory, stats
from autoopt.core.configuration import Scalar
from autoopt.core.host import Host
from autoopt.core.process import USUAL_TIMEOUT_S
from autoopt.core.stats import LogRatio
from autoopt.deploy import goldens
from autoopt.deploy.goldens import Golden
from autoopt.inference.pipeline import Pipeline
from autoopt.measure import probe
from autoopt.measure.target import Target
from autoopt.measure.timing import MeasuringPlan

PROCESS = "autoopt.deploy.self_test_process"
FOLDER = "self_test"
"""The folder of a bundle with the arrays."""
STAGE = "self-test"
PLAN = MeasuringPlan(processes=3, rounds=6)
"""How a bundle is timed when it is written and when it is checked: so many processes and rounds in each."""
LONGEST_WAIT_S = 600.0
"""How long a measurement that runs on this host may keep a self-test waiting."""
LEAST_BAND = 1.25
"""A latency within this factor of the bundle's is never said to be outside of its band."""
BAND_ERRORS = 4.0
"""The band is at least so many standard errors of the ratio to the probe wide, up and down."""


@dataclass(frozen=True)
class Answer:
    """What a graph made of a golden input: the sampled output of its first call, and the pipeline's answer."""

    output: np.ndarray
    answer: np.ndarray


@dataclass(frozen=True)
class Examined:
    """What fresh processes found: the answers by golden input in each, those to shaken inputs, the settings that ran.

    `ratio` is the time of a call over that of the probe, which was repeated `repeats` times, None where nothing was
    timed; `model_s` and `probe_s` are their quartiles, `foreign_share` the largest share of the cores that other
    programs took meanwhile, None where it cannot be told.
    """

    answers: Sequence[Mapping[str, Answer]]
    shaken: Mapping[str, Answer]
    effective: Mapping[str, Scalar]
    ratio: LogRatio | None = None
    model_s: float | None = None
    probe_s: float | None = None
    repeats: int | None = None
    foreign_share: float | None = None


@dataclass(frozen=True)
class SelfTest:
    """The facts for bundle.json, and the arrays for the bundle by their place in it."""

    facts: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


def examine(
    model: Path,
    settings: Mapping[str, Scalar],
    pipeline: Pipeline,
    inputs: Sequence[Golden],
    target: Target,
    *,
    plan: MeasuringPlan = PLAN,
    timed: bool = True,
    shake: bool = False,
    repeats: int | None = None,
) -> Examined:
    """Let the graph in the folder `model` answer `inputs` in fresh processes on `target`.

    `settings` are those of the runtime with its `name`. Where it is `timed` there are `plan.processes`, and other
    measurements of the host are kept out; else there is one. With `shake` the inputs are also answered slightly
    changed. The probe is repeated `repeats` times, by default to take as long as the model. Raises TrialError for a
    graph that cannot be run, BundleError where its runtime is missing, BusyError.
    """
    if not timed:
        found = [_process(model, settings, pipeline, inputs, target, timing=None, shake=shake)]
    else:
        with target.exclusive(wait_s=LONGEST_WAIT_S):
            found = []
            for seed in range(plan.processes):
                first_one = shake and not seed
                request = {"plan": plan.to_json(), "seed": seed, "repeats": repeats}
                found.append(_process(model, settings, pipeline, inputs, target, timing=request, shake=first_one))
                repeats = found[-1]["times"]["repeats"]
    first = found[0]
    answers = [item["answers"] for item in found]
    if not timed:
        return Examined(answers, first["shaken"], first["effective"])
    model_s, probe_s = ([item["times"][name] for item in found] for name in ("model", "probe"))
    quartiles = [
        stats.quantile([call for process in side for turn in process for call in turn], plan.quantile)
        for side in (model_s, probe_s)
    ]
    ratio = stats.paired_ratio(model_s, probe_s, q=plan.quantile)
    shares = [item["foreign_share"] for item in found if item["foreign_share"] is not None]
    busy = max(shares, default=None)
    return Examined(answers, first["shaken"], first["effective"], ratio, quartiles[0], quartiles[1], repeats, busy)


def make_self_test(
    model: Path,
    settings: Mapping[str, Scalar],
    pipeline: Pipeline,
    target: Target,
    *,
    sigma: float,
    plan: MeasuringPlan = PLAN,
) -> SelfTest:
    """The self-test of a bundle of the graph in the folder `model`, as it runs on `target` now.

    `sigma` is the standard deviation of log latency between processes of one model there. Raises as `examine`.
    """
    inputs = goldens.goldens(pipeline)
    found = examine(model, settings, pipeline, inputs, target, plan=plan, shake=True)
    precision = effective_precision(found.effective)
    entries: list[dict[str, Any]] = []
    arrays: dict[str, np.ndarray] = {}
    for golden in inputs:
        first, *others = [answers[golden.name] for answers in [*found.answers, found.shaken]]
        arrays |= {
            f"{FOLDER}/{golden.name}.npy": golden.image,
            f"{FOLDER}/{golden.name}-output.npy": first.output,
            f"{FOLDER}/{golden.name}-answer.npy": first.answer,
        }
        entries.append(
            {
                "name": golden.name,
                "affine": goldens.affine_json(golden.affine),
                "output": goldens.tolerance(first.output, [other.output for other in others], precision),
                "answer": goldens.tolerance(first.answer, [other.answer for other in others], precision),
            }
        )
    facts = {
        "goldens": entries,
        "effective": dict(found.effective),
        "latency": latency_facts(found, sigma),
        "host": host_facts(target.host),
        "versions": dict(target.host.versions),
    }
    return SelfTest(facts, arrays)


def latency_facts(found: Examined, sigma: float) -> dict[str, Any]:
    """The time of a call over that of the probe as plain JSON, with the band that later checks should be within."""
    assert found.ratio is not None and found.model_s is not None and found.probe_s is not None
    error = found.ratio.with_process_noise(sigma).error
    reach = max(math.log(LEAST_BAND), BAND_ERRORS * error)
    return {
        "probe": probe.VERSION,
        "repeats": found.repeats,
        "foreign_share": found.foreign_share,
        "ratio": found.ratio.ratio,
        "band": [found.ratio.ratio * math.exp(-reach), found.ratio.ratio * math.exp(reach)],
        "log_ratios": list(found.ratio.values),
        "error": found.ratio.error,
        "sigma": sigma,
        "model_ms": 1e3 * found.model_s,
        "probe_ms": 1e3 * found.probe_s,
    }


def host_facts(host: Host) -> dict[str, Any]:
    """A host as bundle.json has it, without its versions."""
    described = {name: item for name, item in asdict(host).items() if name != "versions"}
    return {**described, "isa": list(host.isa), "fingerprint": host.fingerprint}


def effective_precision(effective: Mapping[str, Any]) -> str:
    """The precision that a runtime read back; f32 where it tells none."""
    return str(effective.get("precision") or "f32")


def _process(
    model: Path,
    settings: Mapping[str, Scalar],
    pipeline: Pipeline,
    inputs: Sequence[Golden],
    target: Target,
    *,
    timing: Mapping[str, Any] | None,
    shake: bool,
) -> dict[str, Any]:
    """What one fresh process finds; `timing` is its request to time, None where nothing is timed."""
    limit = memory.limit_bytes(target.host.memory_bytes)
    child = target.worker(PROCESS, threads=int(settings.get("threads") or 1))

    def ask(do: str, request: Mapping[str, Any]) -> dict[str, Any]:
        return child.call(do, request, stage=STAGE, timeout_s=USUAL_TIMEOUT_S, memory_bytes=limit)

    with ExitStack() as held, target.exchange() as exchange:
        held.callback(child.close, now=True)  # it has nothing to tidy up: leaving by itself takes a runtime a while
        ask("open", {"model": str(model.absolute()), "runtime": dict(settings), "pipeline": pipeline.to_json()})

        def answers(*, changed: bool) -> dict[str, Answer]:
            found = {}
            for golden in inputs:
                exchange.write(f"{golden.name}.npy", golden.image)
                affine = goldens.affine_json(golden.affine)
                ask("answer", {"folder": exchange.path, "name": golden.name, "affine": affine, "shaken": changed})
                found[golden.name] = Answer(
                    *(exchange.read(f"{golden.name}-{part}.npy") for part in ("output", "answer"))
                )
            return found

        found: dict[str, Any] = {"answers": answers(changed=False), "shaken": answers(changed=True) if shake else {}}
        if timing is not None:
            load = target.load_from_now([child.pid] if child.pid is not None else [])
            found |= {"times": ask("time", timing), "foreign_share": load().foreign_share}
        return {**found, "effective": ask("effective", {})["effective"]}

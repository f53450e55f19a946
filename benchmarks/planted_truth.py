"""Planted truth: studies on a simulated host whose latencies, qualities and noise are known.

    python -m benchmarks.planted_truth [--repetitions 200] [--json FILE]

The host drifts by 20 %, is often slowed down 1.5-fold, and fresh processes of one model differ by 2 %. The rounds,
statistics, verdicts and fronts are those of a real search; only the calls are simulated.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from autoopt.core import pareto
from autoopt.core.card import StudyCard
from autoopt.core.configuration import Configuration
from autoopt.core.host import Host
from autoopt.core.measurement import Measurement
from autoopt.core.records import Status, TrialRecord
from autoopt.core.scores import CaseScore, Quality
from autoopt.measure.measuring import CAP
from autoopt.measure.timing import MeasuringPlan, Turn
from autoopt.measure.turns import play
from autoopt.study import limits, stopping, uncertainty
from autoopt.study.result import StudyResult
from autoopt.study.trial import screening
from autoopt.study.trial.noise_test import PROCESSES, noise_of
from autoopt.workloads.contract import Case, Sample

SIGMA, CALL_NOISE, DRIFT, BUSY, SLOWDOWN = 0.02, 0.05, 0.2, 0.25, 1.5
REFERENCE_S, PATIENTS = 0.02, 12
MARGIN = 0.01
HOST = Host("simulated", "none", 2, 8 << 30, (), "none")
PLAN = MeasuringPlan()


@dataclass(frozen=True)
class Truth:
    """What a trial really is: seconds per call, what it loses on average, and how patients differ in that."""

    latency_s: float
    loss: float
    spread: float = 0.0015


class Machine:
    """A simulated host: one clock, drift, spells of slowness."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.now_s, self._slow_until = rng, 0.0, 0.0
        self._phase = float(rng.uniform(0, 2 * math.pi))

    def call(self, seconds: float) -> float:
        """How long a call of so many quiet seconds takes now."""
        if self.now_s > self._slow_until and self.rng.random() < 0.02:
            self._slow_until = self.now_s + float(self.rng.exponential(0.3))
        slow = SLOWDOWN if self.now_s < self._slow_until or self.rng.random() < BUSY / 3 else 1.0
        drift = 1.0 + DRIFT / 2 * math.sin(self._phase + self.now_s / 20.0)
        took = seconds * slow * drift * (1.0 + CALL_NOISE * float(self.rng.exponential()))
        self.now_s += took
        return took


class Process:
    """A simulated process of a model, with its own luck."""

    def __init__(self, machine: Machine, latency_s: float) -> None:
        self._machine = machine
        self._call_s = latency_s * float(np.exp(SIGMA * machine.rng.normal()))

    def turn(self, plan: MeasuringPlan) -> Turn:
        """See `turns.Player`."""
        count = max(plan.turn_min_calls, min(plan.turn_max_calls, int(plan.turn_s / self._call_s)))
        calls = tuple(self._machine.call(self._call_s) for _ in range(count))
        return Turn(calls, (), sum(calls))


class Search:
    """One simulated study: the reference, then every planted trial, each measured until its verdict."""

    def __init__(self, seed: int, truths: Sequence[Truth]) -> None:
        self.rng = np.random.default_rng(seed)
        self.machine, self.order, self.plan = Machine(self.rng), random.Random(seed), PLAN  # noqa: S311
        self.reference_worker = Process(self.machine, REFERENCE_S)
        self.reference_latency_s: float | None = None
        self.base = self.rng.uniform(0.8, 0.95, size=PATIENTS)
        noise = noise_of([self._process(Truth(REFERENCE_S, 0.0), None) for _ in range(PROCESSES)])  # doctor --noise
        self.plan = replace(PLAN, quantile=noise.quantile)
        card = StudyCard(
            "s",
            "planted",
            True,
            "dice",
            "d",
            "w",
            "{}",
            ("latency", "quality"),
            seed,
            HOST,
            {"drop": MARGIN},
            calibration={"sigma": noise.sigma, "quantile": noise.quantile},
        )
        self.result = StudyResult(card, ())
        self.stopped: dict[int, str] = {}
        for number, truth in enumerate((Truth(REFERENCE_S, 0.0), *truths)):
            self._try(number, truth)

    def _try(self, number: int, truth: Truth) -> None:
        is_reference = number == 0
        record = TrialRecord(
            Configuration.of({"runtime": {"name": "fake", "number": number}}),
            Status.COMPLETE,
            number,
            "seed" if is_reference else "sampler",
            "torch f32" if is_reference else "",
            quality=self._quality(truth),
        )
        measured: Measurement | None = None
        while True:
            measured = self._process(truth, measured)
            if is_reference:
                if measured.processes == PLAN.noise_processes:
                    break
                continue
            said = stopping.enough(replace(record, measurement=measured), self.result)
            if said or measured.processes == PLAN.most_processes:
                self.stopped[number] = said or CAP
                break
        self.result = replace(self.result, records=(*self.result.records, replace(record, measurement=measured)))

    def _process(self, truth: Truth, before: Measurement | None, *, thorough: bool = False) -> Measurement:
        plan = self.plan.thorough() if thorough else self.plan
        others, turns = play([self.reference_worker, Process(self.machine, truth.latency_s)], plan, order=self.order)
        calls, reference = (tuple(turn.calls_s for turn in side) for side in (turns, others))
        self.reference_latency_s = self.reference_latency_s or float(np.quantile(np.concatenate(reference), 0.25))
        if before is None:
            return Measurement(
                (calls,),
                ((),),
                (0.0,),
                0.0,
                0.0,
                1,
                1,
                {},
                HOST.fingerprint,
                reference_s=(reference,),
                reference_workers=("r",),
                reference_latency_s=self.reference_latency_s,
                quantile=plan.quantile,
            )
        return replace(
            before,
            turns_s=(*before.turns_s, calls),
            reference_s=(*before.reference_s, reference),
            warmups_s=(*before.warmups_s, ()),
            cpu_s=(*before.cpu_s, 0.0),
            reference_workers=(*before.reference_workers, "r"),
        )

    def _quality(self, truth: Truth) -> Quality:
        noise = truth.spread * self.rng.normal(size=PATIENTS) if truth.loss != 0 else 0.0
        return _scored(self.base - truth.loss + noise)


TRUTHS = tuple(
    Truth(latency, loss)
    for latency, loss in (
        (0.0150, 0.0010),
        (0.0100, 0.0025),
        (0.0070, 0.0045),
        (0.0050, 0.0070),
        (0.0160, 0.0030),
        (0.0110, 0.0050),
        (0.0080, 0.0065),
        (0.0051, 0.0200),
        (0.0040, 0.0400),
        (0.0120, 0.0045),
        (0.0300, 0.0012),
        (0.0250, 0.0060),
    )
)
"""Latencies and losses of a study: four on the front, two beyond the margin, the rest dominated."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all experiments, print the figures, return 0 when every goal is met."""
    options = _parser().parse_args(arguments)
    repetitions = options.repetitions
    goals = [*_fronts(repetitions // 4), *_pairs(repetitions), *_few_cases(10 * repetitions)]
    for name, value, goal, met in goals:
        print(f"{'met   ' if met else 'MISSED'} {name}: {value:.3f} (goal: {goal})")
    if options.json is not None:
        options.json.write_text(json.dumps({name: value for name, value, _, _ in goals}, indent=2) + "\n")
    return 0 if all(met for _, _, _, met in goals) else 1


Outcome = tuple[str, float, str, bool]


def _fronts(repetitions: int) -> list[Outcome]:
    """Whole studies: is the true front found, and is anything stopped that belongs to it?"""
    points = np.array([[truth.latency_s, truth.loss] for truth in (Truth(REFERENCE_S, 0.0), *TRUTHS)])
    kept = points[:, 1] <= MARGIN
    true_front = {int(index) for index in np.flatnonzero(kept)[pareto.front(points[kept])]}
    missed = extra = stopped = wrong = processes = 0
    for seed in range(repetitions):
        search = Search(seed, TRUTHS)
        found = {record.number for record in search.result.front}
        missed += len(true_front - found)
        extra += sum(not _near(number, true_front, search) for number in found - true_front)
        early = [
            number
            for number, why in search.stopped.items()
            if why.startswith(("it is dominated", "it breaks", "it is far"))
        ]
        stopped += len(early)
        wrong += sum(number in true_front for number in early)
        processes += sum(r.measurement.processes for r in search.result.records if r.measurement is not None)
        print(f"study {seed + 1}/{repetitions}: front {sorted(found)}, true {sorted(true_front)}", file=sys.stderr)
    members = repetitions * len(true_front)
    return [
        ("true members of the front that were missed", missed / members, "at most 0.05", missed <= 0.05 * members),
        (
            "members that are neither on the true front nor tied with it",
            extra / members,
            "at most 0.02",
            extra <= 0.02 * members,
        ),
        ("early stops that were wrong", wrong / max(1, stopped), "under 0.01", wrong < 0.01 * max(1, stopped)),
        ("processes per trial", processes / repetitions / (len(TRUTHS) + 1), "information", True),
    ]


def _near(number: int, true_front: set[int], search: Search) -> bool:
    """Whether a true member is no better in quality than the noise of the cases, and no slower than that of calls."""
    records = {record.number: record for record in search.result.records}
    extra, sigma = records[number], search.result.sigma
    for member in (records[index] for index in true_front):
        assert extra.quality and member.quality and extra.measurement and member.measurement
        alike = uncertainty.same_speed(extra.measurement, member.measurement, sigma)
        faster = member.measurement.latency_p25_s <= extra.measurement.latency_p25_s
        if uncertainty.same_quality(extra.quality, member.quality) and (alike or faster):
            return True
    return False


def _pairs(repetitions: int) -> list[Outcome]:
    """Pairs of trials: 5 % of speed found, nothing called a tie, a loss beyond the margin refused."""
    found = tied = accepted = 0
    for seed in range(repetitions):
        search = Search(
            10_000 + seed,
            (Truth(0.01, 0.001), Truth(0.0105, 0.001), Truth(0.01, 0.001), Truth(0.008, 0.02, spread=0.01)),
        )
        records = {record.number: record for record in search.result.judged}
        sigma = search.result.sigma
        first, slower, same = (
            _more(search, records[number], truth) for number, truth in ((1, 0.01), (2, 0.0105), (3, 0.01))
        )
        found += uncertainty.slower(slower, first, sigma).interval()[0] > 1.0
        tied += uncertainty.same_speed(first, same, sigma)
        accepted += records[4].status is Status.COMPLETE
    return [
        (
            f"a planted difference of 5 % is found with {MORE} processes",
            found / repetitions,
            "at least 0.80",
            found >= 0.80 * repetitions,
        ),
        ("a planted zero difference is a tie", tied / repetitions, "at least 0.95", tied >= 0.95 * repetitions),
        (
            "a planted loss of 0.02 with a margin of 0.01 is accepted",
            accepted / repetitions,
            "under 0.05",
            accepted < 0.05 * repetitions,
        ),
    ]


MORE = 10
"""Processes of a contested member of the front after the last fifth of the measuring time."""


def _more(search: Search, record: TrialRecord, latency_s: float) -> Measurement:
    """The measurement of a contested trial after it was measured again."""
    measured = record.measurement
    while measured is None or measured.processes < MORE:
        measured = search._process(Truth(latency_s, 0.0), measured, thorough=True)
    return measured


def _few_cases(repetitions: int) -> list[Outcome]:
    """Trials that lose up to three times the margin, unlike in their patients: what a few of these stop, all must."""
    rng = np.random.default_rng(0)
    stopped = wrong = lost = 0
    for _ in range(repetitions):
        base = rng.uniform(0.6, 0.98, size=SCORED)
        loss = rng.uniform(0, 3 * MARGIN) + rng.uniform(0.002, 0.04) * rng.normal(size=SCORED)
        loss[rng.random(SCORED) < 0.03] += 0.2  # some patients are lost altogether
        before, after = _scored(base), _scored(base - loss)
        chosen = screening.drawn([Case(case.id, case.group, _unread) for case in before.cases])
        part = screening.estimated(after.among([after.cases[index] for index in chosen]), before)
        record = TrialRecord(Configuration.of({"runtime": {"name": "fake"}}), Status.COMPLETE, quality=after)
        reference = replace(record, quality=before)
        loses = limits.judge(record, reference, {"drop": MARGIN}).status is Status.INFEASIBLE
        stops = screening.loses_too_much(part, before, MARGIN)
        stopped, wrong, lost = stopped + stops, wrong + (stops and not loses), lost + loses
    return [
        (
            f"trials stopped after {screening.SCREENING_CASES} of {SCORED} cases that all cases would have let through",
            wrong / max(1, stopped),
            "under 0.01",
            wrong < 0.01 * max(1, stopped),
        ),
        ("trials that lose too much that the few stopped", (stopped - wrong) / max(1, lost), "information", True),
    ]


SCORED = 79
"""Patients of a split that is large enough for a check of a few."""


def _scored(values: np.ndarray) -> Quality:
    cases = tuple(CaseScore(f"c{i}", f"p{i}", {"dice": float(value)}) for i, value in enumerate(values))
    return Quality("val", "dice", "mean over groups", {"dice": float(values.mean())}, cases)


def _unread() -> Sample:
    raise AssertionError("nothing is read here")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planted_truth", description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--json", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""What a search would do and cost, without doing it: `autoopt plan`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from autoopt.compress import graph_steps, net_step, net_steps
from autoopt.compress.export import form_of
from autoopt.compress.maker import Maker
from autoopt.compress.training_settings import batch_of, steps_of
from autoopt.core.card import StudyCard
from autoopt.core.configuration import Configuration, Scalar, digest
from autoopt.core.records import TrialRecord
from autoopt.errors import NoStudy
from autoopt.nets.teacher_cache import MOST_TILES
from autoopt.study.request import Prepared
from autoopt.study.space import Count, seeds
from autoopt.study.storage import read_study
from autoopt.workloads.contract import Workload

DEFAULT_MEASURE_S = 8.0
DEFAULT_MAKE_S = 5.0
DEFAULT_RANKING_S = 12.0
"""Seconds per trial, per artifact and per ranking of layers before this host has measured any: a net of 2 M parameters
on two cores."""
DEFAULT_CALL_S = 0.1
"""Seconds of a call of the network in PyTorch, where nothing is trained or there is no network."""
CALLS_PER_EXAMPLE = 3.0
"""What training on an example costs: the network forward, and twice that backward."""
LEAST_SHARE = 0.1
"""However little arithmetic is left of a network, a training step takes so much of the whole one's time."""
EXAMPLES_AROUND = 150
"""Examples that a recovery looks at besides those it learns from: for batch norms, and on the hold-out."""
START_S = 20.0
TRIAL_BYTES = 150_000
"""Records, samples and pictures of one trial in the study storage and in MLflow."""


@dataclass(frozen=True)
class Plan:
    """What a search would do. `artifacts` are distinct files to make, by stage; the estimate is in seconds.

    `measured_here` says whether the estimate comes from earlier trials on this host or from defaults.
    """

    card: StudyCard
    count: Count
    raw_size: float
    exhaustive: bool
    seeds: tuple[str, ...]
    trials_done: int
    trials_to_run: int
    artifacts: Mapping[str, int]
    seconds: float
    disk_bytes: int
    measured_here: bool


def plan_search(prepared: Prepared) -> Plan:
    """Count the space, the seeds and the distinct artifacts of the budget, and estimate time and disk.

    For a space larger than the budget the artifacts are those of a random sample of the same size:
    the search itself decides later which ones it makes.
    """
    known = _known_trials(prepared)
    rest = _Rest.of(prepared, known, timed_call_s)
    made = sum(map(len, rest.artifacts.values()))
    return Plan(
        card=prepared.card,
        count=prepared.space.count(),
        raw_size=prepared.space.raw_size,
        exhaustive=_is_exhaustive(prepared),
        seeds=tuple(seed.label for seed in seeds(prepared.space)),
        trials_done=len(_done(known)),
        trials_to_run=rest.trials,
        artifacts={stage: len(parts) for stage, parts in rest.artifacts.items() if parts},
        seconds=START_S + rest.seconds if rest.trials else 0.0,
        disk_bytes=made * prepared.weights.stat().st_size + rest.trials * TRIAL_BYTES,
        measured_here=bool(known),
    )


def seconds_left(prepared: Prepared, known: Sequence[TrialRecord]) -> float:
    """What the rest of a study takes whose trials so far are `known`, estimated as `plan_search` does."""
    return _Rest.of(prepared, known).seconds


def timed_call_s(prepared: Prepared) -> float:
    """What a call of the network takes in PyTorch here: trainings cost a multiple of it."""
    with Maker(prepared.workload, prepared.weights, prepared.store, prepared.host) as maker:
        return maker.call_s() or DEFAULT_CALL_S


def _known_trials(prepared: Prepared) -> Sequence[TrialRecord]:
    """The trials of this very study, if it was begun."""
    try:
        return read_study(prepared.storage_url, prepared.card.name).records
    except NoStudy:
        return ()


def _done(known: Sequence[TrialRecord]) -> dict[str, Configuration]:
    return {record.configuration.digest: record.configuration for record in known if record.number >= 0}


def _is_exhaustive(prepared: Prepared) -> bool:
    count = prepared.space.count()
    return count.exact and count.n <= prepared.request.budget


def _likely_configurations(prepared: Prepared) -> list[Configuration]:
    space, budget = prepared.space, prepared.request.budget
    found = {seed.configuration.digest: seed.configuration for seed in seeds(space)}
    if _is_exhaustive(prepared):
        found |= {configuration.digest: configuration for _, configuration in space.points()}
        return list(found.values())
    rng = np.random.default_rng(prepared.request.seed)
    for _ in range(budget * 50):
        if len(found) >= budget:
            break
        configuration = space.canonical(space.random(rng))
        found.setdefault(configuration.digest, configuration)
    return list(found.values())


@dataclass(frozen=True)
class _Rest:
    """What is still to come of a study: trials, the artifacts that they need and nobody made, seconds."""

    trials: int
    artifacts: Mapping[str, Sequence[_Part]]
    seconds: float

    @classmethod
    def of(
        cls,
        prepared: Prepared,
        known: Sequence[TrialRecord],
        call_s: Callable[[Prepared], float] | None = None,
    ) -> Self:
        """After the trials `known`. The configurations to come are random ones: the search decides later.

        `call_s` is asked what a call of the network takes where no trial tells and there is something to train.
        """
        done, likely = _done(known), _likely_configurations(prepared)
        trials = max(0, min(prepared.request.budget, len(likely)) - len(done))
        to_come = [configuration for configuration in likely if configuration.digest not in done][:trials]
        made = _artifacts(list(done.values()))
        artifacts = {
            stage: [part for link, part in parts.items() if link not in made.get(stage, {})]
            for stage, parts in _artifacts(to_come).items()
        }
        trained = any(artifacts.get(stage) for stage in net_steps())
        costs = _Costs.of(prepared, known, call_s if trained else None)
        per_trial = _median(
            [record.seconds.get("measure", 0.0) + record.seconds.get("score", 0.0) for record in known],
            DEFAULT_MEASURE_S,
        )
        making_s = sum(costs.seconds(stage, part) for stage, parts in artifacts.items() for part in parts)
        # The whole network's answers are asked once, for all trainings.
        views = sum(
            _examples(part.settings, prepared.workload) for stage in net_steps() for part in artifacts.get(stage, ())
        )
        seen = sum(
            _examples(part.settings, prepared.workload)
            for stage in net_steps()
            for part in made.get(stage, {}).values()
        )
        making_s += costs.call_s * max(0.0, min(seen + views, MOST_TILES) - seen)
        return cls(len(to_come), artifacts, trials * per_trial + making_s)


@dataclass(frozen=True)
class _Costs:
    """What making one artifact takes: as in this store so far, else by what is known of a call of the network.

    `training_s` is the time of a training over its work, in calls of the whole network.
    """

    made_s: Mapping[str, float]
    training_s: float | None
    call_s: float
    workload: Workload

    @classmethod
    def of(cls, prepared: Prepared, known: Sequence[TrialRecord], call_s: Callable[[Prepared], float] | None) -> Self:
        """From what the store has of this workload, and from the reference of the study if it was measured."""
        seconds: dict[str, list[float]] = {}
        trainings: list[float] = []
        for artifact in prepared.store.artifacts():
            stage, report = str(artifact.made_by.get("stage", "")), artifact.report
            workload = artifact.made_by.get("workload") or {}
            if workload.get("name") == prepared.workload.name and "seconds" in report:
                seconds.setdefault(stage, []).append(float(report["seconds"]))
                if "recovery" in report:
                    work = _work(artifact.made_by["settings"], float(report.get("macs_left", 1.0)), prepared.workload)
                    trainings.append(float(report["seconds"]) / work)
        calls = [r.measurement.latency_p50_s for r in known if r.measurement is not None and _is_torch(r)]
        return cls(
            {stage: float(np.median(items)) for stage, items in seconds.items()},
            float(np.median(trainings)) if trainings else None,
            float(np.median(calls)) if calls else call_s(prepared) if call_s else DEFAULT_CALL_S,
            prepared.workload,
        )

    def seconds(self, stage: str, part: _Part) -> float:
        """Of one artifact of a stage: a training is as long as its work, all else as long as others of its kind."""
        if stage in net_steps():
            return DEFAULT_MAKE_S + (self.training_s or self.call_s) * _work(part.settings, part.share, self.workload)
        return self.made_s.get(stage, DEFAULT_RANKING_S if stage == "sensitivity" else DEFAULT_MAKE_S)


@dataclass(frozen=True)
class _Part:
    """What makes one artifact: settings, and of a network about the share of the arithmetic that is left then."""

    settings: Mapping[str, Scalar]
    share: float = 1.0


def _work(settings: Mapping[str, Scalar], share: float, workload: Workload) -> float:
    """A training in calls of the whole network."""
    return CALLS_PER_EXAMPLE * max(share, LEAST_SHARE) * _examples(settings, workload)


def _examples(settings: Mapping[str, Scalar], workload: Workload) -> float:
    return steps_of(settings, workload) * batch_of(settings, workload) + EXAMPLES_AROUND


def _is_torch(record: TrialRecord) -> bool:
    return record.configuration.runtime.name == "torch"


def _artifacts(configurations: Sequence[Configuration]) -> dict[str, dict[str, _Part]]:
    """What makes each artifact that the configurations need, by stage and by what it is made of."""
    chains: dict[str, dict[str, _Part]] = {}
    for configuration in configurations:
        link, share = "", 1.0
        for name in net_steps():
            module, before = net_step(name), share
            for part in module.parts(configuration.section(name) or {}):
                link, share = digest([link, name, part]), before * module.left(part)
                chains.setdefault(name, {})[link] = _Part(part, share)
        link = digest([link, *form_of(configuration.runtime)])
        chains.setdefault("export", {})[link] = _Part({})
        for name in graph_steps():
            step_settings = configuration.section(name)
            if step_settings is not None:
                if step_settings.get("keep_float"):
                    chains.setdefault("sensitivity", {})[digest([link, step_settings.get("weight_bits")])] = _Part({})
                link = digest([link, name, step_settings])
                chains.setdefault(name, {})[link] = _Part(step_settings)
    return chains


def _median(values: Sequence[float], default: float) -> float:
    return float(np.median(values)) if values else default

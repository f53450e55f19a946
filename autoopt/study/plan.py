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
from autoopt.inference.runtimes import REFERENCE
from autoopt.nets.teacher_cache import MOST_TILES
from autoopt.nets.training_step import CALLS_PER_EXAMPLE
from autoopt.study.prepare import Prepared
from autoopt.study.space import Count, seeds
from autoopt.study.storage import read_study
from autoopt.workloads.contract import Workload

DEFAULT_MEASURE_S = 8.0
DEFAULT_MAKE_S = 5.0
DEFAULT_RANKING_S = 12.0
"""Seconds per trial, per artifact and per ranking of layers, used until this host has measured its own; from a network
of 2 M parameters on two cores."""
DEFAULT_CALL_S = 0.1
"""Seconds of a call of the network in PyTorch where it was not timed: nothing is trained, or there is no network."""
LEAST_SHARE = 0.1
"""The smallest share of the original network's time that a training step takes, however much was pruned."""
EXAMPLES_AROUND = 150
"""Examples that a recovery reads besides those it trains on: for batch norm statistics, and on the hold-out."""
START_S = 20.0
TRIAL_BYTES = 150_000
"""Bytes that one trial takes in the study storage and in MLflow: record, samples, pictures."""


@dataclass(frozen=True)
class SearchPlan:
    """What a search would do and cost.

    `count` and `raw_size` are the points of the space after and before canonicalisation, `seeds` the labels of the
    trials that always come first. `artifacts` counts by stage the distinct artifacts that are not made yet. `seconds`
    is the estimated time of all trials to run, `time_s` the time after which the search stops, None without a limit.
    `measured_here` says whether the estimate comes from earlier trials on this host or from defaults.
    """

    card: StudyCard
    count: Count
    raw_size: float
    exhaustive: bool
    sampler: str
    seeds: tuple[str, ...]
    trials_done: int
    trials_to_run: int
    artifacts: Mapping[str, int]
    seconds: float
    time_s: float | None
    disk_bytes: int
    measured_here: bool


def timed_call_s(prepared: Prepared) -> float:
    """Seconds that a call of the network takes in PyTorch on this host, timed in the maker process."""
    with Maker(prepared.workload, prepared.weights, prepared.store, prepared.builder, target=prepared.target) as maker:
        return maker.call_s() or DEFAULT_CALL_S


def plan_search(prepared: Prepared, *, call_s: Callable[[Prepared], float] = timed_call_s) -> SearchPlan:
    """Count the space, the seeds and the distinct artifacts of the budget, and estimate time and disk.

    For a space larger than the budget the artifacts are those of a random sample of the same size: the search itself
    decides later which ones it makes. `call_s` says how many seconds a call of the network takes; it is asked only
    where something is to be trained and no trial has timed the network yet.
    """
    known = _known_trials(prepared)
    rest = _Rest.of(prepared, known, call_s)
    made = sum(map(len, rest.artifacts.values()))
    return SearchPlan(
        card=prepared.card,
        count=prepared.space.count(),
        raw_size=prepared.space.raw_size,
        exhaustive=_is_exhaustive(prepared),
        sampler=prepared.request.sampler,
        seeds=tuple(seed.label for seed in seeds(prepared.space)),
        trials_done=len(_done(known)),
        trials_to_run=rest.trials,
        artifacts={stage: len(parts) for stage, parts in rest.artifacts.items() if parts},
        seconds=START_S + rest.seconds if rest.trials else 0.0,
        time_s=prepared.request.time_s,
        disk_bytes=made * prepared.weights.stat().st_size + rest.trials * TRIAL_BYTES,
        measured_here=bool(known),
    )


def seconds_left(prepared: Prepared, known: Sequence[TrialRecord]) -> float:
    """Estimated seconds until a study whose trials so far are `known` has spent its budget."""
    return _Rest.of(prepared, known).seconds


def _known_trials(prepared: Prepared) -> Sequence[TrialRecord]:
    """The stored trials of this study; none when it was not begun."""
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
    """What is left of a study: the number of trials, the artifacts still to be made by stage, and the seconds."""

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
        """What is left after the trials `known`; where the sampler will choose, random configurations stand in.

        `call_s` times a call of the network; it is asked only where something is trained and no trial timed it.
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
        # The original network predicts every training example once, whatever the number of trainings.
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
    """Seconds to make an artifact: as long as others in this store took, else estimated from the network's call time.

    `made_s` is the median by stage, `training_s` the median time of a training divided by its work (in calls of the
    original network), None before the first; `call_s` is the time of a call of the original network.
    """

    made_s: Mapping[str, float]
    training_s: float | None
    call_s: float
    workload: Workload

    @classmethod
    def of(cls, prepared: Prepared, known: Sequence[TrialRecord], call_s: Callable[[Prepared], float] | None) -> Self:
        """From the artifacts of this workload in the store, and the PyTorch trial of the study if there is one."""
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
        calls = [r.measurement.latency_p50_s for r in known if r.measurement is not None and _is_reference(r)]
        return cls(
            {stage: float(np.median(items)) for stage, items in seconds.items()},
            float(np.median(trainings)) if trainings else None,
            float(np.median(calls)) if calls else call_s(prepared) if call_s else DEFAULT_CALL_S,
            prepared.workload,
        )

    def seconds(self, stage: str, part: _Part) -> float:
        """Seconds to make one artifact of a stage: trainings by their work, others by the median of their stage."""
        if stage in net_steps():
            return DEFAULT_MAKE_S + (self.training_s or self.call_s) * _work(part.settings, part.share, self.workload)
        return self.made_s.get(stage, DEFAULT_RANKING_S if stage == "sensitivity" else DEFAULT_MAKE_S)


@dataclass(frozen=True)
class _Part:
    """One artifact to be made: its settings, and the share of the original network's arithmetic that it trains on."""

    settings: Mapping[str, Scalar]
    share: float = 1.0


def _work(settings: Mapping[str, Scalar], share: float, workload: Workload) -> float:
    """The work of a training, in calls of the original network."""
    return CALLS_PER_EXAMPLE * max(share, LEAST_SHARE) * _examples(settings, workload)


def _examples(settings: Mapping[str, Scalar], workload: Workload) -> float:
    return steps_of(settings, workload) * batch_of(settings, workload) + EXAMPLES_AROUND


def _is_reference(record: TrialRecord) -> bool:
    return record.configuration.runtime.name == REFERENCE


def _artifacts(configurations: Sequence[Configuration]) -> dict[str, dict[str, _Part]]:
    """The artifacts that the configurations need, by stage and by a digest of all the settings that lead to them."""
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

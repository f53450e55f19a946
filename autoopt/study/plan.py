"""What a search would do and cost, without doing it: `autoopt plan`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from autoopt.compress import graph_steps, net_step, net_steps
from autoopt.compress.chain import net_parts
from autoopt.compress.export import form_of
from autoopt.compress.maker import Maker
from autoopt.compress.training_settings import batch_of, steps_of
from autoopt.core.card import StudyCard
from autoopt.core.configuration import Configuration, Scalar, digest
from autoopt.core.records import TrialRecord
from autoopt.errors import NoStudy
from autoopt.inference.runtimes import REFERENCE
from autoopt.measure.undisturbed import Timed, timed_of
from autoopt.nets import windows
from autoopt.nets.teacher_cache import MOST_TILES
from autoopt.nets.training_step import CALLS_PER_EXAMPLE
from autoopt.study.limits import asks_for_throughput
from autoopt.study.prepare import Prepared
from autoopt.study.quantization_loss import may_train, trains
from autoopt.study.reference_level import SLOWED, at_level, level_of, reference_beside_s
from autoopt.study.space import Count, arms, seeds
from autoopt.study.storage import read_study
from autoopt.workloads.contract import Workload

DEFAULT_MEASURE_S = 8.0
DEFAULT_MAKE_S = 5.0
DEFAULT_RANKING_S = 12.0
"""Seconds per trial, per artifact and per ranking of layers, used until this host has measured its own; from a network
of 2 M parameters on two cores."""
DEFAULT_CONCURRENT_S = 5.0
"""Seconds more of a trial that also answers many calls at once."""
DEFAULT_CALL_S = 0.1
"""Seconds of a call of the network in PyTorch where it was not timed: nothing is trained, or there is no network."""
LEAST_SHARE = 0.1
"""The smallest share of the original network's time that a training step takes, however much was pruned."""
EXAMPLES_AROUND = 150
"""Examples that a recovery reads besides those it trains on: for batch norm statistics, and on the hold-out."""
LAST = 3
"""Trials that tell how busy the host is now."""
START_S = 20.0
TRIAL_BYTES = 150_000
"""Bytes that one trial takes in the study storage and in MLflow: record, samples, pictures."""


@dataclass(frozen=True)
class SearchPlan:
    """What a search would do and cost.

    `count` and `raw_size` are the points of the space after and before canonicalisation, `seeds` the labels of the
    trials that always come first. `artifacts` counts by stage the distinct artifacts that are not made yet. `seconds`
    is the estimated time of all trials to run on a host that is left alone, `busy_s` that on one that stays as busy as
    it was when the parts were timed; `time_s` is the time after which the search stops, None without a limit.
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
    busy_s: float
    time_s: float | None
    disk_bytes: int
    measured_here: bool


TimeCall = Callable[[Prepared], Timed]
"""Times a call of the network."""


def timed_call(prepared: Prepared) -> Timed:
    """How long a call of the network takes in PyTorch on this host, timed in the maker process."""
    with Maker(prepared.workload, prepared.weights, prepared.store, prepared.builder, target=prepared.target) as maker:
        return maker.call_time() or Timed(DEFAULT_CALL_S)


def plan_search(prepared: Prepared, *, time_call: TimeCall = timed_call) -> SearchPlan:
    """Count the space, the seeds and the distinct artifacts of the budget, and estimate time and disk.

    For a space larger than the budget the artifacts are those of a random sample of the same size: the search itself
    decides later which ones it makes. `time_call` says how long a call of the network takes; it is asked only where
    something is to be trained and no trial has timed the network yet. A time that was measured while the host was busy
    is not believed: see `Timed.quiet_s`, and for trials `_timed_trials`.
    """
    known = known_trials(prepared)
    rest = _Rest.of(prepared, known, time_call)
    made = sum(map(len, rest.artifacts.values()))
    return SearchPlan(
        card=prepared.card,
        count=prepared.space.count(),
        raw_size=prepared.space.raw_size,
        exhaustive=_is_exhaustive(prepared),
        sampler=prepared.request.sampler,
        seeds=tuple(item.label for item in (*seeds(prepared.space), *arms(prepared.space))),
        trials_done=len(_done(known)),
        trials_to_run=rest.trials,
        artifacts={stage: len(parts) for stage, parts in rest.artifacts.items() if parts},
        seconds=START_S + rest.seconds if rest.trials else 0.0,
        busy_s=START_S + rest.busy_s if rest.trials else 0.0,
        time_s=prepared.request.time_s,
        disk_bytes=made * prepared.weights.stat().st_size + rest.trials * TRIAL_BYTES,
        measured_here=bool(known),
    )


def training_seconds(prepared: Prepared, call_s: float) -> float:
    """Estimated seconds of all trainings of a search on a host that is left alone, whatever was made already.

    `call_s` is the time of a call of the network in PyTorch.
    """
    made = _artifacts(_likely_configurations(prepared), prepared.workload)
    parts = [part for name in net_steps() for part in made.get(name, {}).values()]
    views = min(MOST_TILES, sum(_examples(part.settings, prepared.workload) * part.pixels for part in parts))
    return call_s * (views + sum(_work(part, prepared.workload) for part in parts))


def seconds_left(prepared: Prepared, known: Sequence[TrialRecord]) -> float:
    """Estimated seconds until a study whose trials so far are `known` has spent its budget.

    The host is taken to be as busy as beside the last trials.
    """
    slower = [item.wall_s / item.quiet_s for item in _timed_trials(known)[-LAST:] if item.quiet_s > 0]
    return _Rest.of(prepared, known).seconds * _median(slower, 1.0)


def known_trials(prepared: Prepared) -> Sequence[TrialRecord]:
    """The stored trials of the study of a request; none when it was not begun."""
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
    found = {item.configuration.digest: item.configuration for item in (*seeds(space), *arms(space))}
    if _is_exhaustive(prepared):
        found |= {configuration.digest: configuration for _, configuration in space.points()}
        return list(found.values())
    rng, held_back = np.random.default_rng(prepared.request.seed), may_train(space)
    for _ in range(budget * 50):
        if len(found) >= budget:
            break
        configuration = space.canonical(space.random(rng))
        if not (held_back and trains(configuration)):  # they have trials only where plain INT8 turns out to lose
            found.setdefault(configuration.digest, configuration)
    return list(found.values())


@dataclass(frozen=True)
class _Rest:
    """What is left of a study: the number of trials, the artifacts still to be made by stage, and the seconds.

    `busy_s` are the seconds where the host stays as busy as it was.
    """

    trials: int
    artifacts: Mapping[str, Sequence[_Part]]
    seconds: float
    busy_s: float

    @classmethod
    def of(
        cls,
        prepared: Prepared,
        known: Sequence[TrialRecord],
        time_call: TimeCall | None = None,
    ) -> Self:
        """What is left after the trials `known`; where the sampler will choose, random configurations stand in.

        `time_call` times a call of the network; it is asked only where something is trained and no trial timed it.
        """
        done, likely = _done(known), _likely_configurations(prepared)
        trials = max(0, min(prepared.request.budget, len(likely)) - len(done))
        to_come = [configuration for configuration in likely if configuration.digest not in done][:trials]
        made = _artifacts(list(done.values()), prepared.workload)
        artifacts = {
            stage: [part for link, part in parts.items() if link not in made.get(stage, {})]
            for stage, parts in _artifacts(to_come, prepared.workload).items()
        }
        trained = any(artifacts.get(stage) for stage in net_steps())
        # The original network predicts every training example once, whatever the number of trainings.
        views = sum(
            _examples(part.settings, prepared.workload) * part.pixels
            for stage in net_steps()
            for part in artifacts.get(stage, ())
        )
        seen = sum(
            _examples(part.settings, prepared.workload) * part.pixels
            for stage in net_steps()
            for part in made.get(stage, {}).values()
        )
        calls = max(0.0, min(seen + views, MOST_TILES) - seen)
        seconds = []
        for costs in _Costs.of(prepared, known, time_call if trained else None):
            making_s = sum(costs.seconds(stage, part) for stage, parts in artifacts.items() for part in parts)
            seconds.append(trials * costs.trial_s + making_s + costs.call_s * calls)
        return cls(len(to_come), artifacts, *seconds)


def _timed_trials(known: Sequence[TrialRecord]) -> list[Timed]:
    """How long measuring and scoring of each trial took, by itself and on a host that is left alone.

    A host is busy beside a trial where the reference took a quarter longer than its level, or others took the cores.
    """
    level = level_of(known)
    found = []
    for record in [item for item in known if item.measurement is not None] or known:
        wall_s = record.seconds.get("measure", 0.0) + record.seconds.get("score", 0.0)
        beside_s, taken = reference_beside_s(record), None
        if record.measurement is not None:
            taken = record.measurement.foreign_share
        if beside_s is not None and level.latency_s is not None and beside_s > SLOWED * level.latency_s:
            taken = max(taken or 0.0, 1 - level.latency_s / beside_s)
        found.append(Timed(wall_s, taken))
    return found


def _believed(times: Sequence[Timed], default: float) -> float:
    """The median of the times of a quiet host; where the host was always busy, of what they would have been without."""
    quiet = [item.wall_s for item in times if not item.busy]
    return _median(quiet or [item.quiet_s for item in times], default)


def _as_timed(times: Sequence[Timed], default: float) -> float:
    """The median of the times as they came."""
    return _median([item.wall_s for item in times], default)


@dataclass(frozen=True)
class _Costs:
    """Seconds of a trial, and to make an artifact: as long as others in this store took, else estimated from the
    network's call time.

    `trial_s` is the time to measure and score, `made_s` that of an artifact by stage, `training_s` that of a training
    divided by its work (in calls of the original network), None before the first; `call_s` is the time of a call of the
    original network.
    """

    trial_s: float
    made_s: Mapping[str, float]
    training_s: float | None
    call_s: float
    workload: Workload

    @classmethod
    def of(cls, prepared: Prepared, known: Sequence[TrialRecord], time_call: TimeCall | None) -> tuple[Self, Self]:
        """From the artifacts of this workload in the store, and the PyTorch trial of the study if there is one.

        The first is what is believed of a host that is left alone, the second what was timed.
        """
        made: dict[str, list[Timed]] = {}
        trainings: list[Timed] = []
        for artifact in prepared.store.artifacts():
            stage, report = str(artifact.made_by.get("stage", "")), artifact.report
            workload = artifact.made_by.get("workload") or {}
            if workload.get("name") == prepared.workload.name and "seconds" in report:
                timed = timed_of(report)
                made.setdefault(stage, []).append(timed)
                if "recovery" in report:
                    share, pixels = report.get("macs_left", 1.0), report["recovery"].get("pixels", 1.0)
                    part = _Part(artifact.made_by["settings"], float(share), float(pixels))
                    trainings.append(replace(timed, wall_s=timed.wall_s / _work(part, prepared.workload)))
        trials, calls = _timed_trials(known), _reference_calls(known)
        if not calls:
            calls = [time_call(prepared) if time_call else Timed(DEFAULT_CALL_S)]

        believed, as_timed = (
            cls(
                middle(trials, DEFAULT_MEASURE_S + (DEFAULT_CONCURRENT_S if asks_for_throughput(prepared.card) else 0)),
                {stage: middle(items, 0.0) for stage, items in made.items()},
                middle(trainings, 0.0) if trainings else None,
                middle(calls, DEFAULT_CALL_S),
                prepared.workload,
            )
            for middle in (_believed, _as_timed)
        )
        return believed, as_timed

    def seconds(self, stage: str, part: _Part) -> float:
        """Seconds to make one artifact of a stage: trainings by their work, others by the median of their stage."""
        if stage in net_steps():
            return DEFAULT_MAKE_S + (self.training_s or self.call_s) * _work(part, self.workload)
        return self.made_s.get(stage, DEFAULT_RANKING_S if stage == "sensitivity" else DEFAULT_MAKE_S)


@dataclass(frozen=True)
class _Part:
    """One artifact to be made: its settings, and the share of the original network's arithmetic that it trains on.

    `pixels` is the share of a tile that it learns from.
    """

    settings: Mapping[str, Scalar]
    share: float = 1.0
    pixels: float = 1.0


def _work(part: _Part, workload: Workload) -> float:
    """The work of a training, in calls of the original network."""
    return CALLS_PER_EXAMPLE * max(part.share, LEAST_SHARE) * part.pixels * _examples(part.settings, workload)


def _examples(settings: Mapping[str, Scalar], workload: Workload) -> float:
    return steps_of(settings, workload) * batch_of(settings, workload) + EXAMPLES_AROUND


def _reference_calls(known: Sequence[TrialRecord]) -> list[Timed]:
    """How long a call took in the trials of PyTorch, at the level that the reference has in the study."""
    level = level_of(known)
    measured = [at_level(record, level).measured for record in known if record.measurement and _is_reference(record)]
    return [Timed(item.latency_p50_s, item.foreign_share if item.relative is None else None) for item in measured]


def _is_reference(record: TrialRecord) -> bool:
    return record.configuration.runtime.name == REFERENCE


def _artifacts(configurations: Sequence[Configuration], workload: Workload) -> dict[str, dict[str, _Part]]:
    """The artifacts that the configurations need, by stage and by a digest of all the settings that lead to them."""
    chains: dict[str, dict[str, _Part]] = {}
    for configuration in configurations:
        link, share = "", 1.0
        pixels = 1.0 if configuration.section("resolution") else windows.share_of(workload)
        before, last = share, ""
        for name, part in net_parts(configuration):
            before, last = before if name == last else share, name
            link, share = digest([link, name, part]), before * net_step(name).left(part)
            chains.setdefault(name, {})[link] = _Part(part, share, pixels)
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

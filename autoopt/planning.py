"""What a search would do and cost, without doing it: `autoopt plan`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from autoopt.compress import NET_STEPS, graph_steps, net_step
from autoopt.errors import NoStudy
from autoopt.records import Configuration, StudyCard, TrialRecord, digest
from autoopt.request import Prepared
from autoopt.runtimes import runtime
from autoopt.space import Count, seeds
from autoopt.study import read_study

DEFAULT_MEASURE_S = 8.0
DEFAULT_MAKE_S = 12.0
"""Seconds per trial and per artifact before this host has measured any: a 2 M parameter net on two cores."""
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
    space, budget = prepared.space, prepared.request.budget
    count = space.count()
    exhaustive = count.exact and count.n <= budget
    known = _known_trials(prepared)
    done = {record.configuration.digest for record in known if record.number >= 0}
    configurations = _likely_configurations(prepared, budget, exhaustive)
    to_run = max(0, min(budget, len(configurations)) - len(done))
    artifacts = _artifacts([c for c in configurations if c.digest not in done][:to_run])
    per_trial = _median([r.seconds.get("measure", 0.0) + r.seconds.get("score", 0.0) for r in known], DEFAULT_MEASURE_S)
    per_artifact = _median([r.seconds["make"] for r in known if r.seconds.get("make", 0.0) > 1.0], DEFAULT_MAKE_S)
    made = sum(artifacts.values())
    return Plan(
        card=prepared.card,
        count=count,
        raw_size=space.raw_size,
        exhaustive=exhaustive,
        seeds=tuple(seed.label for seed in seeds(space)),
        trials_done=len(done),
        trials_to_run=to_run,
        artifacts=artifacts,
        seconds=0.0 if to_run == 0 else START_S + to_run * per_trial + made * per_artifact,
        disk_bytes=made * prepared.weights.stat().st_size + to_run * TRIAL_BYTES,
        measured_here=bool(known),
    )


def _known_trials(prepared: Prepared) -> Sequence[TrialRecord]:
    """The trials of this very study, if it was begun."""
    try:
        return read_study(prepared.storage_url, prepared.card.name).records
    except NoStudy:
        return ()


def _likely_configurations(prepared: Prepared, budget: int, exhaustive: bool) -> list[Configuration]:
    space = prepared.space
    found = {seed.configuration.digest: seed.configuration for seed in seeds(space)}
    if exhaustive:
        found |= {configuration.digest: configuration for _, configuration in space.points()}
        return list(found.values())
    rng = np.random.default_rng(prepared.request.seed)
    for _ in range(budget * 50):
        if len(found) >= budget:
            break
        configuration = space.canonical(space.random(rng))
        found.setdefault(configuration.digest, configuration)
    return list(found.values())


def _artifacts(configurations: Sequence[Configuration]) -> dict[str, int]:
    chains: dict[str, set[str]] = {}
    for configuration in configurations:
        settings = configuration.section("runtime") or {}
        executes = runtime(str(settings["name"]))
        link = ""
        for name in NET_STEPS:
            for part in net_step(name).parts(configuration.section(name) or {}):
                link = digest([link, name, part])
                chains.setdefault(name, set()).add(link)
        link = digest([link, executes.FORMAT, settings.get("precision") if executes.FORMAT == "torch" else None])
        chains.setdefault("export", set()).add(link)
        for name in graph_steps():
            step_settings = configuration.section(name)
            if step_settings is not None:
                if step_settings.get("keep_float"):
                    chains.setdefault("sensitivity", set()).add(digest([link, step_settings.get("weight_bits")]))
                link = digest([link, name, step_settings])
                chains.setdefault(name, set()).add(link)
    return {stage: len(links) for stage, links in chains.items()}


def _median(values: Sequence[float], default: float) -> float:
    return float(np.median(values)) if values else default

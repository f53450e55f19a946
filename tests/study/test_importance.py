"""What drives the objectives of a study."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from autoopt.core.configuration import Configuration
from autoopt.core.records import TrialRecord
from autoopt.study.importance import OFF, comparable, importances, settings_that_vary
from autoopt.study.result import StudyResult
from tests.report.page.planted import planted_study, quality
from tests.worlds import measured


def driven_study(trials: int = 60) -> StudyResult:
    """The planted study, whose latency comes from the threads and the quality from how much is pruned."""
    planted = planted_study(trials)
    rng = np.random.default_rng(3)

    def driven(record: TrialRecord) -> TrialRecord:
        if record.measurement is None or record.origin == "seed":
            return record
        threads, ratio = (
            record.configuration.runtime.threads,
            (record.configuration.section("prune") or {}).get("ratio"),
        )
        latency_s = 0.05 / threads * float(np.exp(rng.normal(0, 0.02)))
        return replace(
            record,
            measurement=replace(record.measurement, turns_s=measured(latency_s, processes=2).turns_s),
            quality=quality(0.93 - 0.02 * float(ratio or 0), record.number),
        )

    return replace(planted, records=tuple(map(driven, planted.records)))


def test_what_drives_an_objective_comes_first() -> None:
    """The setting that makes trials faster is first for latency, the one that costs quality is first for quality."""
    study = driven_study()
    latency, quality_ = importances(study)
    assert (latency.objective, quality_.objective) == ("latency", "quality")
    assert next(iter(latency.shares)) == "runtime.threads" and next(iter(quality_.shares)) == "prune.ratio"
    assert abs(sum(latency.shares.values()) - 1) < 1e-9 and latency.explained > 0.5
    assert latency.trials == len(comparable(study)) < len(study.records)  # neither the failed one nor the control
    assert importances(study) == (latency, quality_)


def test_noise_gets_no_shares() -> None:
    """Where the settings do not tell one trial from another, nothing is said to drive the objective."""
    for found in importances(planted_study(60)):
        assert not found.shares and "would be noise" in found.why_not


def test_few_trials_say_nothing() -> None:
    """Of a dozen trials nothing is said but that they are too few."""
    assert all(not found.shares and "too few trials" in found.why_not for found in importances(planted_study(12)))


def test_settings_that_say_the_same_are_one() -> None:
    """Steps of training that are always the same are left out, and a step that is off is one of its values."""
    runtime = {"name": "torch", "precision": "f32", "threads": 1}
    records = [
        TrialRecord(
            Configuration.of(
                {
                    "prune": None if ratio is None else {"ratio": ratio, "steps": 120},
                    "runtime": {**runtime, "threads": t},
                }
            ),
            planted_study(12).records[0].status,
        )
        for ratio, t in [(None, 1), (0.5, 1), (0.75, 2), (0.75, 1)]
    ]
    assert settings_that_vary(records) == {"prune.ratio": (OFF, 0.5, 0.75, 0.75), "runtime.threads": (1, 1, 2, 1)}

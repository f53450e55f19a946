"""An invented study of any size with everything that a report can show: references, a front, ties, limits, failures."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from autoopt.core.card import StudyCard
from autoopt.core.configuration import Configuration, Scalar
from autoopt.core.records import Failure, Status, TrialRecord
from autoopt.core.scores import CaseScore, Quality
from autoopt.study.result import StudyResult
from tests.worlds import HOST, REFERENCE_S, measured

CARD = StudyCard(
    "planted",
    "histo",
    True,
    "dice_macro",
    "da7a",
    "3e16",
    "{}",
    ("latency", "quality"),
    0,
    HOST,
    {"drop": 0.03},
    labels=("background", "gland"),
)
SITES = ("site:a", "site:b")


def quality(value: float, seed: int, split: str = "val") -> Quality:
    """Twelve cases of six patients of two sites, whose scores scatter about `value` alike for every trial."""
    base = np.random.default_rng(7).normal(0, 0.02, 12)
    own = np.random.default_rng(seed).normal(0, 0.003, 12)
    scores = np.clip(value + base + own - own.mean() - base.mean(), 0, 1)
    cases = tuple(
        CaseScore(f"case{index:02d}", f"patient{index // 2}", {"dice_macro": float(score)}, {"site": "ab"[index % 2]})
        for index, score in enumerate(scores)
    )
    return Quality(split, "dice_macro", "mean over patients", {"dice_macro": float(scores.mean())}, cases)


def configuration(place: int) -> Configuration:
    """One of many, drawn by its place."""
    rng = np.random.default_rng(place)
    runtime: dict[str, Scalar] = {
        "name": str(rng.choice(["openvino", "openvino", "onnxruntime", "torch"])),
        "precision": "f32",
        "threads": int(rng.integers(1, 3)),
    }
    int8: dict[str, Scalar] = {"scheme": "int8", "tool": "nncf", "preset": "mixed", "calibration_cases": 24}
    ratio = [None, 0.5, 0.75, 0.85][int(rng.integers(4))]
    return Configuration.of(
        {
            "resolution": {"factor": 2, "steps": 400} if rng.random() < 0.4 else None,
            "prune": None if ratio is None else {"ratio": ratio, "rungs": "0.5,0.75,0.85", "steps": 120},
            "quantize": int8 if rng.random() < 0.6 else None,
            "runtime": runtime,
        }
    )


def trial(number: int, latency_s: float, value: float, **changes: object) -> TrialRecord:
    """A complete trial with this latency and quality."""
    made = TrialRecord(
        configuration(number),
        Status.COMPLETE,
        number,
        origin="model",
        artifacts=("a0", f"a{number}"),
        measurement=replace(
            measured(latency_s, processes=2, spread=0.01),
            peaks_rss_bytes=(150_000_000, 152_000_000),
            peak_rss_bytes=152_000_000,
            artifact_bytes=2_000_000 + 10_000 * number,
            content=f"c{number}",
            effective={"precision": "f32", "threads": 2, "streams": 1},
        ),
        quality=quality(value, number),
        seconds={"make": 20.0 if number % 3 else 0.0, "measure": 8.0, "score": 2.0},
        started_at=f"2026-01-01T10:{number // 4 % 60:02d}:{15 * (number % 4):02d}+00:00",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def planted_study(trials: int = 24, **card: object) -> StudyResult:
    """A study of so many trials, at least 12, the same every time; `card` are changes of its card."""
    rng = np.random.default_rng(0)
    seed = {"origin": "seed"}
    records = [
        trial(0, REFERENCE_S, 0.93, **seed, label="torch f32", test=quality(0.92, 0, "test")),
        trial(1, 0.05, 0.93, **seed, label="openvino f32"),
        trial(2, 0.012, 0.928, test=quality(0.918, 2, "test")),
        trial(3, 0.0121, 0.9281, test=quality(0.918, 3, "test")),  # tied with the one before
        trial(4, 0.006, 0.922, test=quality(0.91, 4, "test"), notes=("noisy: the host was busy",)),
        trial(5, 0.004, 0.910, test=quality(0.86, 5, "test")),  # does not hold on test
        trial(6, 0.003, 0.80),  # breaks the limit
        TrialRecord(
            configuration(7),
            Status.FAILED,
            7,
            origin="model",
            failure=Failure("crash", "measure", 'the worker died <b>of "signal 11"</b>', "line 1\nSegmentation fault"),
            seconds={"make": 3.0, "measure": 1.0},
            started_at="2026-01-01T10:01:45+00:00",
        ),
        trial(8, 0.05, 0.93, origin="control", label="one layer", artifacts=()),
    ]
    for number in range(len(records), trials):
        latency_s = float(np.exp(rng.uniform(np.log(0.007), np.log(0.2))))
        records.append(trial(number, latency_s, 0.925 - float(rng.exponential(0.01))))
    assert all(one.number < other.number for one, other in pairwise(records))
    return StudyResult(replace(CARD, **card), tuple(records))  # type: ignore[arg-type]

"""What the runs hold: a trial or a study as MLflow parameters, metrics, tags and files."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from autoopt import __version__
from autoopt.core.card import AGAIN, LINKED, StudyCard
from autoopt.core.configuration import Configuration, Scalar, digest, finite
from autoopt.core.measurement import Calls, Measurement
from autoopt.core.records import Status, TrialRecord
from autoopt.report.csv_text import csv_text
from autoopt.report.front_json import front_json
from autoopt.report.front_picture import front_picture
from autoopt.report.tables import front_csv, front_markdown, reasons_text
from autoopt.study.floor import floor_of
from autoopt.study.limits import violations
from autoopt.study.numbers import NUMBERS
from autoopt.study.result import StudyResult
from autoopt.study.short_names import describe
from autoopt.tracking import rounding

if TYPE_CHECKING:
    from mlflow.entities import Metric, Param, RunTag

STUDY, TRIAL, KIND, STATE = "autoopt.study", "autoopt.trial", "autoopt.kind", "autoopt.state"
STUDY_ID, CAUSE, CONFIGURATION = "autoopt.study_id", "autoopt.cause", "autoopt.configuration"
WRITTEN = "autoopt.record"
"""The tag that says which record the files of a run show, as a digest; written last, it vouches for all of the run."""
PARENT = "mlflow.parentRunId"
RECORD = "record.json"
CHANGING = ("front_probability", "speedup_vs_best_float")
"""What every later trial may change of a trial: MLflow keeps each value that was ever written."""
LONGEST = 5000
"""Characters of a tag or parameter that are kept; MLflow refuses more than 6000."""


def study_tags(card: StudyCard) -> dict[str, str]:
    """What the parent and every child say of their study."""
    versions = {"autoopt": __version__, **card.host.versions}
    others = {name: card.origin[name] for name in (AGAIN, LINKED) if card.origin.get(name) is not None}
    return {
        **{f"autoopt.{name}": str(other) for name, other in others.items()},
        STUDY: card.name,
        STUDY_ID: card.id,
        "autoopt.workload": card.workload,
        "autoopt.demo": _flag(card.demo),
        "autoopt.host": card.host.fingerprint,
        "autoopt.cpu": card.host.cpu,
        "autoopt.data_digest": card.data_digest,
        "autoopt.weights_digest": card.weights_digest,
        **{f"autoopt.version.{name}": str(version) for name, version in versions.items()},
    }


def trial_params(record: TrialRecord) -> dict[str, Scalar]:
    """The configuration, flattened; a step that is on stands under its bare name too, in short."""
    flat = record.configuration.flat()
    for name, given in record.configuration.sections().items():
        if given is not None and name != "runtime":
            short = describe(Configuration.of({name: given})).removeprefix("? ")
            flat[name] = short.removeprefix(f"{name} ")
    return flat


def trial_tags(record: TrialRecord) -> dict[str, str]:
    """What a trial is by itself: where it came from, how it failed, what really ran."""
    tags = {
        KIND: "trial",
        TRIAL: str(record.number),
        "autoopt.origin": record.origin,
        "autoopt.label": record.label,
        CONFIGURATION: record.configuration.digest,
        "autoopt.artifact": record.artifacts[-1] if record.artifacts else "",
        "autoopt.notes": "; ".join(record.notes),
    }
    if (failure := record.failure) is not None:
        tags |= {CAUSE: failure.cause, "autoopt.stage": failure.stage, "autoopt.message": failure.message}
    if (measured := record.measurement) is not None:
        tags |= {f"effective.{_name(name)}": _text(value) for name, value in measured.effective.items()}
        tags |= {
            "autoopt.host": measured.host,
            "autoopt.doubts": "; ".join(measured.doubts),
            "autoopt.stopped": measured.stopped,
            "autoopt.contended": measured.contended,
        }
    return {name: text[:LONGEST] for name, text in tags.items() if text}


def verdict_tags(record: TrialRecord, result: StudyResult) -> dict[str, str]:
    """What other trials, other limits and later looks may change of a judged trial."""
    number, kept = record.number, result.confirmed_on_test(record)
    same_as, tie = result.duplicates.get(number), result.ties.get(number)
    tags = {
        "autoopt.status": record.status.value,
        "autoopt.violated": ",".join(sorted(record.violated)) or "none",
        "autoopt.on_front": _flag(any(member.number == number for member in result.front)),
        "autoopt.same_as": "" if same_as is None else str(same_as),
        "autoopt.tied_with": "" if tie is None or tie == number else str(tie),
        "autoopt.held_on_test": "" if kept is None else _flag(kept),
        "autoopt.no_interval": "; ".join(reasons_text(result.without_interval(record)))[:LONGEST],
    }
    return {name: text or "none" for name, text in tags.items()}


def trial_metrics(record: TrialRecord, result: StudyResult) -> dict[str, float]:
    """The headline numbers, seconds by kind, and by how much each limit is missed (zero or less: kept); rounded."""
    excess = violations(record, result.reference, result.card.limits, result.sigma)
    numbers = {
        **rounding.headline(_finite(result.headline(record))),
        **{f"seconds_{kind}": rounding.significant(seconds) for kind, seconds in _finite(record.seconds).items()},
        **{f"violation_{name}": rounding.significant(value) for name, value in _finite(excess).items()},
    }
    return {_name(name): value for name, value in numbers.items()}


def settled(metrics: Mapping[str, float]) -> dict[str, float]:
    """Those metrics of a new trial that the trials after it hardly change: the others are written at the end."""
    return {name: value for name, value in metrics.items() if not name.startswith(CHANGING)}


def written(record: TrialRecord, result: StudyResult) -> TrialRecord:
    """What the files of a judged trial show: the record as it is stored, with the status that the limits give it."""
    return replace(result.stored[record.number], status=record.status, violated=record.violated)


def record_digest(record: TrialRecord, result: StudyResult) -> str:
    """A digest of what the files of a judged trial show."""
    facts = result.stored[record.number].facts_digest
    return digest([facts, record.status, sorted(record.violated)])


def _concurrent(measured: Measurement) -> tuple[tuple[str, Calls], ...]:
    """The samples under concurrency, each the seconds of a turn over its calls, and of the reference beside them."""
    named = (("concurrent", measured.concurrent_s), ("concurrent reference", measured.concurrent_reference_s))
    return tuple((phase, kept) for phase, kept in named if kept)


def trial_files(record: TrialRecord) -> dict[str, bytes]:
    """The whole record, raw latency samples, per-case scores, and of a failure its message and log."""
    files = {RECORD: json.dumps(record.to_json(), indent=1).encode()}
    if (measured := record.measurement) is not None:
        warmups = tuple((calls,) for calls in measured.warmups_s)
        samples = [
            (process, phase, turn, call, seconds)
            for phase, kept in (
                ("warmup", warmups),
                ("timed", measured.turns_s),
                ("reference", measured.reference_s),
                *_concurrent(measured),
            )
            for process, turns in enumerate(kept)
            for turn, calls in enumerate(turns)
            for call, seconds in enumerate(calls)
        ]
        files["latency_samples.csv"] = csv_text(("process", "phase", "round", "call", "seconds"), samples).encode()
    for quality, name in ((record.quality, "case_scores.csv"), (record.test, "test_case_scores.csv")):
        if quality is not None:
            metrics = list(dict.fromkeys(name for case in quality.cases for name in case.scores))
            scores = [(case.id, case.group, *(case.scores.get(name) for name in metrics)) for case in quality.cases]
            files[name] = csv_text(("case", "group", *metrics), scores).encode(errors="backslashreplace")
    if (failure := record.failure) is not None:
        text = f"{failure.cause} in {failure.stage}: {failure.message}\n\n{failure.log_tail}"
        files["log.txt"] = text.encode()
    return files


def trial_times_ms(record: TrialRecord) -> tuple[int, int]:
    """When the trial began and ended, in milliseconds since 1970; now where the record does not say."""
    try:
        began = int(datetime.fromisoformat(record.started_at).timestamp() * 1000)
    except ValueError:
        began = now_ms()
    return began, began + round(sum(record.seconds.values()) * 1000)


def study_params(card: StudyCard) -> dict[str, Any]:
    """What never changes of a study."""
    return {
        "workload": card.title,
        "objectives": ",".join(card.objectives),
        "primary": card.primary,
        "primary_better": "less" if card.less_is_better else "more",
        "seed": card.seed,
        "labels": ",".join(card.labels),
    }


def study_metrics(result: StudyResult) -> dict[str, float]:
    """How the trials ended, what they took, the size and the best of the front, its distance to the floor."""
    numbers: dict[str, float] = {"trials": len(result.records), "front_size": len(result.front)}
    ended = {status: sum(record.status is status for record in result.judged) for status in Status}
    numbers |= {f"trials_{status.value}": n for status, n in ended.items() if n or status is not Status.UNKNOWN}
    numbers["seconds"] = sum(sum(record.seconds.values()) for record in result.records)
    if result.front:
        members = [result.headline(record) for record in result.front]
        best_of: dict[str, float] = {}
        for number in NUMBERS.values():
            name = number.name(result.card.primary)
            if number.best_of_front and all(name in item for item in members):
                best = max if number.larger_is_better_in(result.card) else min
                best_of[name] = best(item[name] for item in members)
        numbers |= {f"best_{name}": value for name, value in rounding.headline(_finite(best_of)).items()}
    if (floor := floor_of(result)) is not None:
        numbers["floor_ratio"] = floor.ratio
    return {_name(name): rounding.significant(value) for name, value in _finite(numbers).items()}


def reference_text(result: StudyResult) -> str:
    """Which trial all others are compared with, and why it is not PyTorch FP32 where it is not."""
    if result.reference is None:
        return "none: drop unknown"
    return (result.stand_in or f"{result.reference.label} (#{result.reference.number})")[:LONGEST]


def front_files(result: StudyResult) -> dict[str, bytes]:
    """The front as JSON, CSV, Markdown and picture."""
    return {
        "front.json": json.dumps(front_json(result), indent=1).encode(),
        "front.csv": front_csv(result).encode(),
        "front.md": front_markdown(result).encode(),
        "front.png": front_picture(result),
    }


def param(name: str) -> str:
    """A setting as MLflow's parameter."""
    return _name(name)


def as_metrics(numbers: Mapping[str, float]) -> list[Metric]:
    """MLflow's metrics of `numbers`."""
    from mlflow.entities import Metric

    now = now_ms()
    return [Metric(name, value, now, 0) for name, value in numbers.items()]


def as_params(values: Mapping[str, Any]) -> list[Param]:
    """MLflow's parameters of `values`; None is written as "none"."""
    from mlflow.entities import Param

    return [Param(_name(name), _text(value)[:LONGEST]) for name, value in values.items()]


def as_tags(tags: Mapping[str, str]) -> list[RunTag]:
    """MLflow's tags of `tags`."""
    from mlflow.entities import RunTag

    return [RunTag(name, text) for name, text in tags.items()]


def now_ms() -> int:
    """Milliseconds since 1970, MLflow's clock."""
    return int(time.time() * 1000)


def _finite(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in numbers.items() if finite(value) is not None}


def _name(name: str) -> str:
    """`name` with only what MLflow allows in the name of a metric, parameter or tag."""
    return re.sub(r"[^\w.\- /]", "_", name)


def _text(value: Any) -> str:
    return "none" if value is None else _flag(value) if isinstance(value, bool) else str(value)


def _flag(value: bool) -> str:
    return str(value).lower()

"""Values of a measurement as plain JSON, and back: both ends of a link use the same functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from autoopt.core.configuration import RuntimeSettings
from autoopt.core.host import Host
from autoopt.core.store import Artifact
from autoopt.inference.pipeline import Pipeline
from autoopt.measure.concurrency import Concurrency
from autoopt.measure.host_load import Load
from autoopt.measure.merging import Taken
from autoopt.measure.subject import Subject
from autoopt.measure.timing import Turn
from autoopt.measure.turns import Clear, FarFrom, never


def subject_to_json(subject: Subject) -> dict[str, Any]:
    """A subject; its artifacts are named by kind and key."""
    return {
        "artifact": [subject.artifact.kind, subject.artifact.key],
        "runtime": dict(subject.runtime),
        "pipeline": subject.pipeline.to_json(),
        "cases": [subject.cases.kind, subject.cases.key],
        "latency": subject.latency,
    }


def subject_from_json(value: Mapping[str, Any], find: Callable[[str, str], Artifact]) -> Subject:
    """The subject, whose artifacts `find` gives by kind and key."""
    return Subject(
        find(*map(str, value["artifact"])),
        RuntimeSettings(value["runtime"]),
        Pipeline.from_json(value["pipeline"]),
        find(*map(str, value["cases"])),
        value["latency"],
    )


def clear_to_json(clear: Clear) -> dict[str, Any] | None:
    """A rule that is plain data; None for `never`, and for one that only a process of this machine can ask."""
    return clear.to_json() if isinstance(clear, FarFrom) else None


def clear_from_json(value: Mapping[str, Any] | None) -> Clear:
    """What `clear_to_json` wrote."""
    return never if value is None else FarFrom.from_json(value)


def taken_to_json(taken: Taken) -> dict[str, Any]:
    """What one process gave."""
    return asdict(taken)


def taken_from_json(value: Mapping[str, Any]) -> Taken:
    """What `taken_to_json` wrote."""
    load = value["load"]
    return Taken(
        dict(value["opened"]),
        [Turn.from_json(turn) for turn in value["turns"]],
        [Turn.from_json(turn) for turn in value["others"]],
        str(value["reference_worker"]),
        str(value["contended"]),
        None if load is None else Load(**load),
        tuple(map(float, value["joules"])),
    )


def concurrency_from_json(value: Mapping[str, Any]) -> Concurrency:
    """What `asdict` wrote."""
    turns, beside = (
        tuple(tuple(tuple(calls) for calls in process) for process in value[name])
        for name in ("turns_s", "reference_s")
    )
    return Concurrency(turns, beside, int(value["requests"]))


def host_from_json(value: Mapping[str, Any]) -> Host:
    """What `asdict` wrote."""
    return Host(**{**value, "isa": tuple(value["isa"]), "versions": dict(value["versions"])})

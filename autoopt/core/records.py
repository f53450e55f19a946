"""One trial as a value: everything a report, a replay or a deployment needs; plain JSON both ways.

All values of this folder are frozen; seconds, bytes and fractions inside, units are formatted only at the edge.
`SCHEMA` is the version of the JSON; its history:

1  first version
2  turns beside a reference instead of calls alone; drops with bounds; confirmation on test
3  plain names: `reference_workers` and `reference_latency_s` were `residents` and `level_s`; sections and settings of
   configurations as in `RENAMED_SECTIONS` and `RENAMED_SETTINGS`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

from autoopt.core.configuration import Configuration, Scalar
from autoopt.core.measurement import Measurement, measurement_from_json, measurement_to_json
from autoopt.core.scores import Quality, quality_from_json

SCHEMA = 3
READABLE = (1, 2, 3)
CONTROL = "control"
"""The origin of a trial that others are compared with; it is on no front."""
ARM = "arm"
"""The origin of a trial that has a name in the file of the space."""
RENAMED_SECTIONS: Mapping[str, str] = {"coarsen": "resolution"}
"""Sections of configurations before schema 3, and what they are called since."""
RENAMED_SETTINGS: Mapping[str, str] = {"as_int8": "qat", "grow": "steps_growth"}
"""Settings of any section before schema 3, and what they are called since."""


class Status(StrEnum):
    """How a trial ended, judged by the limits of its study.

    An `unknown` one was measured, but whether it keeps the limits cannot be told: mostly for want of a reference.
    """

    COMPLETE = "complete"
    INFEASIBLE = "infeasible"
    UNKNOWN = "unknown"
    FAILED = "failed"


@dataclass(frozen=True)
class Failure:
    """Why a trial failed: the cause (errors.py), the stage, a message, the end of the child's log.

    `by_signal` says that a signal ended the process that did the work.
    """

    cause: str
    stage: str
    message: str
    log_tail: str = ""
    by_signal: bool = False

    def __post_init__(self) -> None:
        """Keep of the texts what every database takes: names of files may hold bytes that are no letters."""
        for name in ("message", "log_tail"):
            text: str = getattr(self, name)
            storable = text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")
            object.__setattr__(self, name, storable)


@dataclass(frozen=True)
class TrialRecord:
    """One configuration, evaluated. Everything a report, a replay or a deployment needs.

    `artifacts` are the store keys from the first stage to the measured one; `seconds` the wall time by kind (`make`,
    `measure`, `score`); `violated` the limits this trial breaks, by name, with the excess; `origin` says what proposed
    it: seed, arm, control, warm-start, exhaustive, again or a sampler by name; `test` is the quality on test, where it
    was confirmed.
    """

    configuration: Configuration
    status: Status
    number: int = -1
    origin: str = "sampler"
    label: str = ""
    artifacts: tuple[str, ...] = ()
    measurement: Measurement | None = None
    quality: Quality | None = None
    failure: Failure | None = None
    violated: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    started_at: str = ""
    notes: tuple[str, ...] = ()
    test: Quality | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON with the schema version."""
        measured = None if self.measurement is None else measurement_to_json(self.measurement)
        changed = {"configuration": self.configuration.sections(), "measurement": measured}
        plain = {"schema": SCHEMA, **asdict(self), **changed}
        for name in ("quality", "test"):
            if plain[name] is not None and not plain[name]["errors"]:
                del plain[name]["errors"]  # as it was before there were such metrics
        return plain

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TrialRecord:
        """The record that `to_json` wrote. Raises ValueError for a schema this version cannot read."""
        if value.get("schema") not in READABLE:
            raise ValueError(f"a trial record of schema {SCHEMA} is needed, this one has {value.get('schema')!r}")
        fields = {key: item for key, item in value.items() if key != "schema"}
        measurement, quality, failure = fields["measurement"], fields["quality"], fields["failure"]
        sections = fields["configuration"]
        if value["schema"] < 3:
            sections = renamed(sections)
            if failure is not None:
                failure = {**failure, "stage": RENAMED_SECTIONS.get(failure["stage"], failure["stage"])}
        return cls(
            **{
                **fields,
                "configuration": Configuration.of(sections),
                "status": Status(fields["status"]),
                "artifacts": tuple(fields["artifacts"]),
                "notes": tuple(fields["notes"]),
                "measurement": None if measurement is None else measurement_from_json(measurement),
                "quality": None if quality is None else quality_from_json(quality),
                "test": quality_from_json(fields["test"]) if fields.get("test") is not None else None,
                "failure": None if failure is None else Failure(**failure),
            }
        )

    @cached_property
    def facts_digest(self) -> str:
        """A digest of all that was found of the trial, without its status, which may change with the limits."""
        facts = {name: item for name, item in self.to_json().items() if name not in ("status", "violated")}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def measured(self) -> Measurement:
        """The measurement of a record that must have one. Raises ValueError where it has none."""
        if self.measurement is None:
            raise ValueError(f"trial {self.number} has no measurement")
        return self.measurement

    def with_number(self, number: int) -> TrialRecord:
        """The same record under the number it got in its study."""
        return replace(self, number=number)


def renamed(sections: Mapping[str, Mapping[str, Scalar] | None]) -> dict[str, dict[str, Scalar] | None]:
    """The sections of a configuration from before schema 3, under the names of today."""
    found: dict[str, dict[str, Scalar] | None] = {}
    for name, settings in sections.items():
        own = None if settings is None else {RENAMED_SETTINGS.get(key, key): item for key, item in settings.items()}
        found[RENAMED_SECTIONS.get(name, name)] = own
    return found

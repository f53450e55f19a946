"""The card of a study: what makes it this study."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from autoopt.core.configuration import canonical_json, digest
from autoopt.core.host import Host
from autoopt.core.records import READABLE, RENAMED_SECTIONS, RENAMED_SETTINGS, SCHEMA

AGAIN = "again"
"""The key of `origin` that names the study whose front a study measured again; also what proposed its trials."""
LINKED = "linked"
"""The key of `origin` that names the study of the same search on another target; also what proposed the trials that
were on the front there."""


@dataclass(frozen=True)
class StudyCard:
    """What makes a study this study. A change of any of `identity()` is another study.

    `space` is the canonical JSON of the space, `objectives` their names in order, `limits` the
    constraints by name (`drop` as a fraction, `latency_s`), which may change between commands.
    `labels` and `pipeline` are what a bundle needs of the workload, `origin` where workload, data and
    weights were loaded from (`source`, `data`, `weights`, and `home`), so that one trial can be run again, and what
    was `left_out` of the training of the weights, the `reading` of image files, the study that was measured
    `again`, and the one that it is `linked` with. `latency` says what is timed: one network call, or a whole case. `id`
    is drawn when the study is stored first, empty before: a study of the same name that is made after this one was lost
    has another one. `calibration` is what `doctor --noise` found of the host: `sigma`, and `peaks` by number of
    threads. With `less_is_better` the primary metric is an error; `own_metrics` are the user's own by name, each with
    what its scores depend on; `arms` are the named configurations of its space file: name to the digest of the
    configuration.
    """

    name: str
    workload: str
    demo: bool
    primary: str
    data_digest: str
    weights_digest: str
    space: str
    objectives: tuple[str, ...]
    seed: int
    host: Host
    limits: Mapping[str, float] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    pipeline: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    latency: str = "call"
    calibration: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    less_is_better: bool = False
    own_metrics: Mapping[str, Any] = field(default_factory=dict)
    arms: Mapping[str, str] = field(default_factory=dict)

    def identity(self) -> dict[str, Any]:
        """What must not change within a study."""
        return {
            "workload": self.workload,
            "data": self.data_digest,
            "weights": self.weights_digest,
            "space": digest(self.space),
            "pipeline": digest([dict(self.pipeline), self.latency]),
            "objectives": list(self.objectives),
            "seed": self.seed,
            "host": self.host.fingerprint,
            **({"metrics": digest(dict(self.own_metrics))} if self.own_metrics else {}),
        }

    @property
    def weights_remark(self) -> str:
        """A sentence on what was left out of the training of the weights; empty where nothing, or nothing is known."""
        left_out = self.origin.get("left_out", "")
        return f"The weights may be worse than their recipe can: {left_out}." if left_out else ""

    @property
    def title(self) -> str:
        """The workload as users see it: demo data is always called so."""
        return f"{self.workload} (demo data)" if self.demo else self.workload

    def to_json(self) -> dict[str, Any]:
        """Plain JSON with the schema version."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> StudyCard:
        """The card that `to_json` wrote. Raises ValueError for a schema this version cannot read."""
        if value.get("schema") not in READABLE:
            raise ValueError(f"a study card of schema {SCHEMA} is needed, this one has {value.get('schema')!r}")
        fields = {key: item for key, item in value.items() if key != "schema"}
        if value["schema"] < 3:
            fields["space"] = _renamed(fields["space"])
        host = dict(fields["host"])
        host["isa"] = tuple(host["isa"])
        lists = {name: tuple(fields[name]) for name in ("objectives", "labels")}
        return cls(**{**fields, **lists, "host": Host(**host)})


def _renamed(space: str) -> str:
    """The text of a space from before schema 3, with its dimensions under the names of today."""
    document, dimensions = json.loads(space), {}
    for name, values in document["dimensions"].items():
        section, _, key = name.partition(".")
        dimensions[f"{RENAMED_SECTIONS.get(section, section)}.{RENAMED_SETTINGS.get(key, key)}"] = values
    return canonical_json({**document, "dimensions": dimensions})

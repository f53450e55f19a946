"""A model in MLflow's registry as its tags tell it: who wrote them, what they say, and how they are read again."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from autoopt import __version__
from autoopt.core.configuration import canonical_json, digest
from autoopt.core.plain_text import parse_json
from autoopt.core.records import TrialRecord
from autoopt.deploy.pick import candidate
from autoopt.deploy.policies import PICKS, Candidate
from autoopt.study.limits import LIMITS
from autoopt.study.numbers import NUMBERS, objectives
from autoopt.study.result import StudyResult
from autoopt.study.words import in_words

PREFIX = "autoopt-"
"""Before the name of a workload: its registered model."""
BUNDLE = "artifacts/bundle"
"""Where the bundle lies within the files of a registered model."""
CONTENT, SEAL, HOST, DATA = "autoopt.content", "autoopt.bundle_sha256", "autoopt.host", "autoopt.data_digest"
STUDY, TRIAL, DEMO, CPU, WHAT = "autoopt.study", "autoopt.trial", "autoopt.demo", "autoopt.cpu", "autoopt.what"
WEIGHTS, NUMBERS_TAG = "autoopt.weights_digest", "autoopt.numbers"
KEYS = (CONTENT, HOST, DATA)
"""The tags that make a version what it is: the same content, measured on the same host with the same data, is one."""
DEMO_ALIAS = "demo"
MOST_TEXT = 4000


def registered_name(workload: str) -> str:
    """The name of the registered model of a workload: letters, digits, dots and dashes only."""
    return PREFIX + re.sub(r"[^\w.-]+", "-", workload)


def content(result: StudyResult, record: TrialRecord) -> str:
    """A digest of what a deployed trial is: artifact, runtime settings, pipeline and weights; not of its numbers."""
    measured = record.measured
    return digest(
        {
            "artifact": record.artifacts[-1] if record.artifacts else "",
            "files": measured.content,
            "runtime": dict(record.configuration.runtime),
            "pipeline": [dict(result.card.pipeline), record.configuration.section("pipeline")],
            "weights": result.card.weights_digest,
        }
    )


def key_of(tags: Mapping[str, str]) -> tuple[str, ...]:
    """What makes a version what it is, from its tags."""
    return tuple(tags.get(name, "") for name in KEYS)


def identity_tags(result: StudyResult, record: TrialRecord) -> dict[str, str]:
    """The tags of `KEYS` for a member of a front."""
    return {CONTENT: content(result, record), HOST: record.measured.host, DATA: result.card.data_digest}


def tags_of(result: StudyResult, record: TrialRecord, seal: str) -> dict[str, str]:
    """All tags of the version of a member of a front, whose bundle.json has the SHA-256 `seal`.

    The numbers are there twice: each number of the tables with the ends of its interval as a tag of its own, for people
    and filters; and as JSON what a policy and limits are answered from.
    """
    card, every, reasons = result.card, result.headline(record), result.without_interval(record)
    headline = {name: every[name] for name in shown(card.primary) if name in every}
    compared = {name: one.read(record, result.reference, result.sigma) for name, one in LIMITS.items() if one.option}
    compared_as = candidate(record, result)
    numbers = {
        "primary": card.primary,
        "objectives": list(card.objectives),
        "minimised": dict(compared_as.minimised),
        "noise": dict(compared_as.noise),
        "limits": {name: value for name, value in compared.items() if value is not None and math.isfinite(value)},
        "headline": headline,
        "no_interval": {name: reasons[name] for name in headline if name in reasons},
    }
    held = result.confirmed_on_test(record)
    return {
        **identity_tags(result, record),
        SEAL: seal,
        STUDY: card.name,
        "autoopt.study_id": card.id,
        TRIAL: str(record.number),
        "autoopt.workload": card.workload,
        DEMO: str(card.demo).lower(),
        CPU: card.host.cpu,
        WHAT: in_words(record.configuration),
        WEIGHTS: card.weights_digest,
        "autoopt.configuration": record.configuration.digest,
        "autoopt.artifact": record.artifacts[-1] if record.artifacts else "",
        "autoopt.version": __version__,
        "autoopt.held_on_test": "none" if held is None else str(held).lower(),
        "autoopt.doubts": "; ".join(record.measured.doubts)[:MOST_TEXT] or "none",
        NUMBERS_TAG: canonical_json(numbers),
        **{name: f"{value:.6g}" for name, value in headline.items()},
    }


def shown(primary: str) -> list[str]:
    """The keys of the numbers that stand in the tables of a front, each with the ends of its interval."""
    columns = [(number.key, *number.column.below) for number in NUMBERS.values() if number.column is not None]
    return list(dict.fromkeys(key.format(primary=primary) for keys in columns for key in keys))


def aliases(result: StudyResult, record: TrialRecord, here: str) -> dict[str, tuple[str, ...]]:
    """By policy the aliases of what it picks, where `here` is the fingerprint of the host that registers.

    A plain name is for real data that was measured on this very host, and stands beside one with the fingerprint behind
    it. Demo data gets demo-fastest and so on; what was measured elsewhere only names with that host's fingerprint.
    """
    own = record.measured.host == here
    before, behind = f"{DEMO_ALIAS}-" if result.card.demo else "", f"-{record.measured.host}"
    names = {pick: (f"{before}{pick}",) if own else () for pick in PICKS}
    return {
        pick: (*plain, *(() if own and result.card.demo else (f"{before}{pick}{behind}",)))
        for pick, plain in names.items()
    }


@dataclass(frozen=True)
class Registered:
    """A version of a registered model, read from the registry.

    `location` is where the registry says its files are; `numbers` is what `tags_of` wrote under `NUMBERS_TAG`, empty
    for a version that somebody else registered.
    """

    name: str
    version: int
    tags: Mapping[str, str]
    location: str
    numbers: Mapping[str, Any]

    @classmethod
    def of(cls, name: str, version: int, tags: Mapping[str, str], location: str) -> Registered:
        """The version with its numbers, where the tags have them as they were written."""
        return cls(name, version, tags, location, _numbers(tags.get(NUMBERS_TAG, "")))

    @property
    def ours(self) -> bool:
        """Whether it is a bundle that autoopt registered, with all that a policy needs."""
        return bool(self.numbers) and bool(self.tags.get(SEAL)) and all(key_of(self.tags))

    @property
    def host(self) -> str:
        """The fingerprint of the host that the numbers were measured on."""
        return self.tags.get(HOST, "")

    @property
    def demo(self) -> bool:
        """Whether its data is synthetic; what does not say so counts as such."""
        return self.tags.get(DEMO) != "false"

    @property
    def group(self) -> tuple[str, ...]:
        """What must be the same for numbers to be compared: demo or not, host, data, weights."""
        return (str(self.demo), self.host, self.tags.get(DATA, ""), self.tags.get(WEIGHTS, ""))

    @property
    def candidate(self) -> Candidate:
        """It as a policy sees it; its number is that of the version."""
        return Candidate(self.version, self.numbers["minimised"], self.numbers.get("noise", {}))

    @property
    def text(self) -> str:
        """It in a few words, such as: version 3 (trial #12 of histo-1: openvino int8)."""
        trial = f"trial #{self.tags.get(TRIAL, '?')} of {self.tags.get(STUDY, '?')}"
        return f"version {self.version} ({trial}: {self.tags.get(WHAT, '?')})"


def _numbers(text: str) -> Mapping[str, Any]:
    """What `tags_of` wrote, checked: the tags of a registry may be anybody's. Empty for anything else."""
    try:
        found = parse_json(text)
        whole = {name: _floats(found[name]) for name in ("minimised", "limits", "headline")}
        known = [name for name in found["objectives"] if name in objectives() and name in whole["minimised"]]
        needed = {"latency", "quality", "size"} <= set(whole["minimised"]) and isinstance(found["primary"], str)
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
    if not needed or known != found["objectives"] or not known:
        return {}
    return {**whole, "objectives": tuple(known), "primary": found["primary"]}


def _floats(found: Mapping[str, Any]) -> dict[str, float]:
    """The numbers by name. Raises ValueError or TypeError for what is none."""
    numbers = {str(name): float(value) for name, value in found.items()}
    if not all(map(math.isfinite, numbers.values())):
        raise ValueError("a number must be finite")
    return numbers


def as_tags(found: Any) -> dict[str, str]:
    """Tags as MLflow's REST interface writes them, a list of key and value, by key. Raises TypeError or KeyError."""
    return {str(item["key"]): str(item.get("value", "")) for item in found or []}

"""Where the time of a trial goes, as `autoopt explain` found it and keeps it for the report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoopt.core.card import StudyCard
from autoopt.core.records import TrialRecord
from autoopt.inference.runtimes.layers import Layer
from autoopt.measure.case_stages import CaseStages
from autoopt.measure.profiling import Profile
from autoopt.report.evidence_files import evidence_file, read_evidence, write_evidence
from autoopt.report.explanation import Explanation
from autoopt.report.layer_pairs import family

PROFILES = "profiles"
"""The name of this evidence: kept profiles by the number of their trial, or a sentence that says why there is none."""
KIND = "profile"
CONVERSIONS, NETWORK = "conversions", "network"
BEFORE, AFTER = "before the network", "after the network"
"""Parts of a case that are no layers: preparing its tiles, and making the answer of the outputs."""


@dataclass(frozen=True)
class KeptSide:
    """One trial of a kept explanation: its number, its name in words, its profile."""

    number: int
    title: str
    profile: Profile

    @property
    def parts(self) -> dict[str, float]:
        """The seconds of a case, or where its stages are not known of a network call, by part in their order.

        Layers are added up by operation, as ONNX calls it, longest first; their shares of the profiled layers are
        taken of the time that the network takes unprofiled.
        """
        case, kinds = self.profile.case, self._by_kind()
        network_s = self.profile.call_s if case is None else case.network_s
        total = sum(kinds.values())
        layers = {name: network_s * item / total for name, item in kinds.items()} if total else {NETWORK: network_s}
        if case is None:
            return layers
        return {BEFORE: case.prepare_s, **layers, AFTER: case.finish_s}

    def _by_kind(self) -> dict[str, float]:
        seconds: dict[str, float] = {}
        for layer in self.profile.layers:
            name = CONVERSIONS if layer.conversion else family(layer.type)
            seconds[name] = seconds.get(name, 0.0) + layer.seconds
        return dict(sorted(seconds.items(), key=lambda item: -item[1]))


@dataclass(frozen=True)
class KeptProfile:
    """A kept explanation: the trial first, then the one it was compared with; `taken` is the day (UTC)."""

    sides: tuple[KeptSide, ...]
    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    taken: str

    @property
    def of_cases(self) -> bool:
        """Whether the stages of a whole case are known of every side."""
        return all(side.profile.case is not None for side in self.sides)


def keep_profile(found: Explanation, home: Path, now_s: Callable[[], float] = time.time) -> str:
    """Keep an explanation in the home folder in place of an earlier one; why it could not be, else nothing."""
    path = _file(home, found.study.card, found.trial.record)
    value = {
        "taken": time.strftime("%Y-%m-%d", time.gmtime(now_s())),
        "sides": [_side_to_json(side.record.number, side.title, side.profile) for side in found.sides],
        "sentences": list(found.sentences),
        "notes": list(found.notes),
    }
    return write_evidence(path, value)


def kept_profile(home: Path, card: StudyCard, record: TrialRecord) -> KeptProfile | None:
    """What is kept of a trial; None where it was never explained, or since then became another."""
    value = read_evidence(_file(home, card, record))
    if value is None:
        return None
    try:
        sides = tuple(_side_from_json(side) for side in value["sides"])
        texts = [tuple(map(str, value[name])) for name in ("sentences", "notes")]
        return KeptProfile(sides, texts[0], texts[1], str(value["taken"])) if sides else None
    except (KeyError, TypeError, ValueError, AttributeError):  # written by hand, or by another version
        return None


def _file(home: Path, card: StudyCard, record: TrialRecord) -> Path:
    return evidence_file(home, card, record, KIND, {})


def _side_to_json(number: int, title: str, profile: Profile) -> dict[str, Any]:
    return {
        "number": number,
        "title": title,
        "call_s": profile.call_s,
        "case": None if profile.case is None else profile.case.to_json(),
        "layers": [layer.to_json() for layer in profile.layers],
    }


def _side_from_json(value: dict[str, Any]) -> KeptSide:
    case = None if value["case"] is None else CaseStages.from_json(value["case"])
    profile = Profile(tuple(map(Layer.from_json, value["layers"])), float(value["call_s"]), case)
    return KeptSide(int(value["number"]), str(value["title"]), profile)

"""An explanation of a trial as a value: the profiles, their layers in pairs, the sentences."""

from __future__ import annotations

from dataclasses import dataclass

from autoopt.core.records import TrialRecord
from autoopt.measure.profiling import CONVERSIONS, UNKNOWN, Profile
from autoopt.report.layer_pairs import Pair
from autoopt.study.result import StudyResult
from autoopt.study.words import in_words

PRECISION_WORDS = {
    "i8": "INT8",
    "bf16": "BF16",
    "f16": "FP16",
    "f32": "FP32",
    UNKNOWN: "other",
    CONVERSIONS: "conversions",
}
"""The keys of `Profile.shares` in words."""


@dataclass(frozen=True)
class Side:
    """A stored trial and its profile of today; `latency` is what the study timed: a "call", a "tile" or a "case"."""

    record: TrialRecord
    profile: Profile
    latency: str = "call"

    @property
    def title(self) -> str:
        """Its number and its label or configuration in words, such as: #4 INT8, 2 threads on OpenVINO."""
        return f"#{self.record.number} {self.record.label or in_words(self.record.configuration)}"

    @property
    def quantized(self) -> bool:
        """Whether the configuration quantizes."""
        return self.record.configuration.section("quantize") is not None

    @property
    def recorded_s(self) -> float | None:
        """The p25 latency in the study, in seconds, of what the study times; None for a trial that was not measured."""
        return None if self.record.measurement is None else self.record.measurement.latency_p25_s

    @property
    def recorded_call_s(self) -> float | None:
        """The recorded latency where it compares with a call of now: None in a study that times tiles or cases."""
        return self.recorded_s if self.latency == "call" else None


@dataclass(frozen=True)
class Explanation:
    """One trial explained, alone or beside another: `sentences` say why, `notes` what limits what they say."""

    study: StudyResult
    trial: Side
    against: Side | None
    pairs: tuple[Pair, ...]
    sentences: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def sides(self) -> tuple[Side, ...]:
        """The trial and, where there is one, the trial it is compared with."""
        return (self.trial,) if self.against is None else (self.trial, self.against)

"""How far the fastest model that was found is from the floor: one layer with the same in- and output, the control."""

from __future__ import annotations

from dataclasses import dataclass

from autoopt.core.records import CONTROL, TrialRecord
from autoopt.study import uncertainty
from autoopt.study.result import StudyResult


@dataclass(frozen=True)
class Floor:
    """The control of a study beside the fastest member of its front.

    `ratio` is how many times longer a call of that member takes, `low` and `high` its 95 % interval; `quality` is the
    primary metric of the control on val.
    """

    control: int
    fastest: int
    ratio: float
    low: float
    high: float
    quality: float | None

    def words(self, primary: str) -> str:
        """A sentence on it."""
        scored = "was not scored" if self.quality is None else f"has {primary} {self.quality:.4f}"
        return (
            f"The floor: #{self.fastest}, the fastest member, takes {self.ratio:.2f} ({self.low:.2f}-{self.high:.2f}) "
            f"times as long as one layer with the same in- and output (#{self.control}), which {scored}."
        )


def control_of(study: StudyResult) -> TrialRecord | None:
    """The trial of the control; None where the study has none that was measured."""
    return next((r for r in study.judged if r.origin == CONTROL and r.measurement is not None), None)


def floor_of(study: StudyResult) -> Floor | None:
    """How far the front is from the floor; None without a front or a control."""
    control = control_of(study)
    if control is None or not study.front:
        return None
    fastest = study.front[0]
    times = uncertainty.slower(fastest.measured, control.measured, study.sigma)
    low, high = times.interval()
    quality = None if control.quality is None else control.quality.value
    return Floor(control.number, fastest.number, times.ratio, low, high, quality)

"""What a search tells those who listen while it runs, and what it gives in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from autoopt.core.records import TrialRecord
from autoopt.study.attempts import Attempt
from autoopt.study.result import StudyResult


@dataclass(frozen=True)
class Progress:
    """What a listener is told at every stage of every trial: enough to draw a progress bar.

    `stage` is the stage that begins, `record` the trial that just ended (else None), `result` the study so far,
    `seconds_left` an estimate or None while nothing is known, `attempt` the trial that is run, None where none is;
    `running` counts those that run at once.
    """

    stage: str
    budget: int
    result: StudyResult
    record: TrialRecord | None = None
    seconds_left: float | None = None
    attempt: Attempt | None = None
    running: int = 0


Listener = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """A listener that does nothing."""


@dataclass(frozen=True)
class SearchResult:
    """What a search found and what it cost.

    `stopped` says why it ended. `made` and `reused` count artifacts by stage, in this command.
    `seconds` is the wall time of this command by kind: make, measure, score, rest and total;
    `first_trial_s` the time from the call to the first finished trial, None when none ran.
    """

    study: StudyResult
    stopped: str
    exhaustive: bool
    made: Mapping[str, int] = field(default_factory=dict)
    reused: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    first_trial_s: float | None = None

    @property
    def front(self) -> tuple[TrialRecord, ...]:
        """The complete, feasible trials that no other dominates, fastest first."""
        return self.study.front

    @property
    def records(self) -> tuple[TrialRecord, ...]:
        """All trials of the study, by number."""
        return self.study.judged

"""A sink in memory: what a search tells the sinks, to be looked at."""

from __future__ import annotations

from autoopt.core.card import StudyCard
from autoopt.core.records import TrialRecord
from autoopt.study.result import StudyResult


class ListSink:
    """A sink that keeps what a search tells it: `card`, `trials` by number, `told`, `fronts` and `states`, in order.

    `has` are the numbers of trials that it claims to have already.
    """

    def __init__(self, has: set[int] | None = None) -> None:
        self.has = set(has or ())
        self.card: StudyCard | None = None
        self.trials: dict[int, TrialRecord] = {}
        self.told: list[tuple[int, int]] = []
        """The number of each trial that was told, and how many trials its study had then."""
        self.fronts: list[list[int]] = []
        """The numbers of the front, each time that it was told."""
        self.states: list[str] = []

    def check(self) -> None:
        """It can always be used."""

    def open(self, study: StudyResult) -> set[int]:
        """Begin with a study."""
        self.card = study.card
        self.states.append("open")
        return self.has | {record.number for record in study.judged if self.trials.get(record.number) == record}

    def trial(self, record: TrialRecord, study: StudyResult) -> None:
        """Keep a trial, in the place of what was known of it before."""
        self.trials[record.number] = record
        self.told.append((record.number, len(study.records)))

    def changed(self, study: StudyResult) -> None:
        """Keep the numbers of the front, and what later trials changed of the earlier ones."""
        self.trials |= {record.number: record for record in study.judged if record.number in self.trials}
        self.fronts.append([member.number for member in study.front])

    def close(self, state: str) -> None:
        """Keep how the search ended."""
        self.states.append(state)

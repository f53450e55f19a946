"""Sinks: who hears of the records of a study while it grows. MLflow is one, a list in memory another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Protocol

from autoopt.core.records import TrialRecord
from autoopt.study.result import StudyResult


class Sink(Protocol):
    """Where the records of one study go besides its storage."""

    def check(self) -> None:
        """Raise UsageError when it cannot be used; asked before anything is stored."""
        ...

    def open(self, study: StudyResult) -> set[int]:
        """Begin with a study, new or continued; the numbers of the trials that it has already, as they are now."""
        ...

    def trial(self, record: TrialRecord, study: StudyResult) -> None:
        """Take a trial that is new in `study`, or one that it has already and of which more is known now."""
        ...

    def changed(self, study: StudyResult) -> None:
        """Bring up to date what follows from all trials: the front, verdicts, counts."""
        ...

    def close(self, state: str) -> None:
        """End: `state` is "finished" or "interrupted"."""
        ...


@contextmanager
def opened(sinks: Sequence[Sink], study: StudyResult) -> Iterator[None]:
    """All sinks open for the block, each with every trial that the study has: nothing is missing after a kill."""
    state = "interrupted"

    def close(sink: Sink) -> None:
        sink.close(state)

    with ExitStack() as held:
        for sink in sinks:
            known = sink.open(study)
            held.callback(close, sink)
            for record in study.judged:
                if record.number not in known:
                    sink.trial(record, study)
        yield
        state = "finished"

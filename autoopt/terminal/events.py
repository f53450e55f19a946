"""The events of a search as JSON lines on standard output: `autoopt search --json`, see docs/terminal.md."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self, TextIO

from autoopt.core.configuration import finite
from autoopt.report.front_json import front_json
from autoopt.study.words import in_words
from autoopt.terminal.console import stdout_alone

if TYPE_CHECKING:
    from autoopt.core.records import TrialRecord
    from autoopt.study.events import Progress, SearchResult
    from autoopt.study.result import StudyResult

SCHEMA = 1
"""The number in the first event; raised where a key changes its meaning or goes, not where one is added."""


class SearchEvents:
    """Writes each event of a search as one line of JSON; nothing else reaches standard output in its `with` block."""

    def __init__(self) -> None:
        self._out: TextIO = sys.stdout
        self._block = ExitStack()
        self._front: list[int] | None = None

    def __enter__(self) -> Self:
        self._out = self._block.enter_context(stdout_alone())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._block.close()
        self._out = sys.stdout

    def __call__(self, progress: Progress) -> None:
        """Write what a listener of the search is told."""
        study = progress.result
        if self._front is None:
            self._front = []
            self._write("start", **_start(study, progress.budget))
        if progress.record is None:
            self._write("stage", **_stage(progress))
            return
        record = study.by_number(progress.record.number) or progress.record
        self._write("trial", **_trial(study, record), done=len(study.records), seconds_left=progress.seconds_left)
        front = [member.number for member in study.front]
        if front != self._front:
            self._front = front
            self._write("front", trials=front)

    def end(self, result: SearchResult) -> None:
        """Write the last event: why the search ended, what it took, and the front as `autoopt front --json` has it."""
        if self._front is None:  # no trial was left to run
            self._write("start", **_start(result.study, len(result.records)))
        self._write(
            "end",
            stopped=result.stopped,
            exhaustive=result.exhaustive,
            trials=len(result.records),
            made=dict(result.made),
            reused=dict(result.reused),
            seconds=dict(result.seconds),
            result=front_json(result.study),
        )

    def _write(self, event: str, **facts: Any) -> None:
        print(json.dumps({"event": event, **facts}), file=self._out, flush=True)


def _start(study: StudyResult, budget: int) -> dict[str, Any]:
    card = study.card
    return {
        "schema": SCHEMA,
        "study": card.name,
        "workload": card.workload,
        "demo": card.demo,
        "host": {"fingerprint": card.host.fingerprint, "cpu": card.host.cpu},
        "objectives": list(card.objectives),
        "limits": dict(card.limits),
        "budget": budget,
        "done": len(study.records),
    }


def _stage(progress: Progress) -> dict[str, Any]:
    attempt = progress.attempt
    return {
        "stage": progress.stage,
        "place": None if attempt is None or attempt.number is not None else len(progress.result.records) + 1,
        "again": None if attempt is None else attempt.number,
        "tries": None if attempt is None else attempt.tries,
        "words": None if attempt is None else in_words(attempt.proposal.configuration),
        "seconds_left": progress.seconds_left,
    }


def _trial(study: StudyResult, record: TrialRecord) -> dict[str, Any]:
    failure = record.failure
    return {
        "trial": record.number,
        "label": record.label,
        "origin": record.origin,
        "status": str(record.status),
        "violated": list(record.violated),
        "failure": None
        if failure is None
        else {"stage": failure.stage, "cause": failure.cause, "message": failure.message},
        "words": in_words(record.configuration),
        "configuration": record.configuration.sections(),
        "numbers": {key: finite(value) for key, value in study.headline(record).items()},
        "seconds": dict(record.seconds),
    }

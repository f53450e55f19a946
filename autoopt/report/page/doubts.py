"""What a reader should doubt: the noise, and the doubts and notes of trials, alike ones together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from autoopt.core.records import TrialRecord
from autoopt.report.page.html import Child, Row, bullets, joined, paragraph, table, trial_link
from autoopt.report.page.subject import Subject
from autoopt.report.tables import host_notes
from autoopt.study.result import StudyResult
from autoopt.study.uncertainty import DEFAULT_SIGMA

MOST_LINKS = 12
"""Trials that are named beside a doubt; of more only the number is told."""


@dataclass(frozen=True)
class Doubt:
    """A doubt or note, in the words of the first trial that has it, and all trials that have it but for its numbers."""

    number: int
    text: str
    trials: tuple[int, ...]

    @property
    def anchor(self) -> str:
        """Where the page tells it."""
        return f"doubt{self.number}"


def doubts_of(result: StudyResult) -> tuple[Doubt, ...]:
    """All doubts of a study, that of most trials first. Those that differ in numbers only are one."""
    first: dict[str, str] = {}
    trials: dict[str, list[int]] = {}
    for record in result.records:
        for text in texts_of(record):
            key = _key(text)
            first.setdefault(key, text)
            found = trials.setdefault(key, [])
            if record.number not in found:
                found.append(record.number)
    ordered = sorted(trials, key=lambda key: (-len(trials[key]), trials[key]))
    return tuple(Doubt(place, first[key], tuple(trials[key])) for place, key in enumerate(ordered, 1))


def texts_of(record: TrialRecord) -> Sequence[str]:
    """The doubts of a trial's measurement, then its notes."""
    return (*(() if record.measurement is None else record.measurement.doubts), *record.notes)


def by_trial(doubts: Sequence[Doubt]) -> dict[int, list[Doubt]]:
    """The doubts of each trial that has any."""
    found: dict[int, list[Doubt]] = {}
    for doubt in doubts:
        for number in doubt.trials:
            found.setdefault(number, []).append(doubt)
    return found


def _key(text: str) -> str:
    return re.sub(r"\d+(?:\.\d+)?", "0", text)


def render(subject: Subject) -> Markup:
    """The noise floor, what the host did meanwhile, and each doubt with its trials."""
    result = subject.result
    found = doubts_of(result)
    rows = [
        Row([f"{doubt.number}", doubt.text, len(doubt.trials), _links(doubt.trials)], anchor=doubt.anchor)
        for doubt in found
    ]
    listed = (
        table(["", "doubt or note", "trials", "which"], rows, caption="Doubts and notes of trials", texts=[1, 3])
        if rows
        else paragraph("No trial has a doubt or a note.")
    )
    return joined([paragraph(_noise(result)), bullets(host_notes(result)), listed])


def _noise(result: StudyResult) -> str:
    """How much two processes of one thing differ on this host."""
    sigma = result.sigma
    source = (
        "from the A/A test of the host" if "sigma" in result.card.calibration else "from the trial of the reference"
    )
    if sigma == DEFAULT_SIGMA:
        source = "assumed, since neither the host nor the reference tells it"
    return (
        f"Noise floor: the latency of one and the same model varies by {100 * sigma:.1f} % from process to process "
        f"(standard deviation, {source}). Differences that are not clearly larger are ties."
    )


def _links(trials: Sequence[int]) -> Markup:
    shown: list[Child] = []
    for number in trials[:MOST_LINKS]:
        shown += [" " if shown else None, trial_link(number)]
    return joined([*shown, f" and {len(trials) - MOST_LINKS} more" if len(trials) > MOST_LINKS else None])

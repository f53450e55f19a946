"""What to take, by policy: the trial that `autoopt pull` picks, its numbers, and the command to copy."""

from __future__ import annotations

from markupsafe import Markup

from autoopt.core.records import TrialRecord
from autoopt.deploy.pick import picked
from autoopt.deploy.policies import PICKS
from autoopt.report.next_commands import pull_command
from autoopt.report.page import limit_sliders
from autoopt.report.page.html import command, element, joined, lines, paragraph, trial_link
from autoopt.report.page.subject import Subject
from autoopt.report.page.words import OVER, drop_words, latency_words, named, other_words, size_words, speedup_words
from autoopt.study.result import StudyResult


def render(subject: Subject) -> Markup:
    """A card for each policy, and the sliders; nothing where the front is empty."""
    result = subject.result
    if not result.front:
        return Markup("")
    cards = [_card(subject, pick, picked(result, pick)) for pick in PICKS]
    return joined([element("div", *cards, class_="cards"), limit_sliders.render(subject)])


def _card(subject: Subject, pick: str, record: TrialRecord) -> Markup:
    result = subject.result
    return element(
        "article",
        element("h3", pick, " ", trial_link(record.number)),
        paragraph(named(record)),
        _numbers(result, record),
        command(pull_command(result.card.name, pick, subject.place), name=f"the command for {pick}"),
        data_n=record.number,
    )


def _numbers(result: StudyResult, record: TrialRecord) -> Markup:
    """Latency, speed-up, loss, size and the other objectives: the numbers of a choice."""
    numbers = result.headline(record)
    over = next((over for over in OVER if speedup_words(numbers, over)), "")
    name, lost = drop_words(numbers, less_is_better=result.card.less_is_better)
    rest = "\nabove the limit on test" if result.confirmed_on_test(record) is False else ""
    rows = [("p25 latency", latency_words(numbers))]
    rows += [(f"x {OVER[over]}", speedup_words(numbers, over))] if over else []
    rows += [(name, (lost or "not known") + rest), ("size", size_words(numbers))]
    rows += other_words(result, record).items()
    return element("dl", *(joined([element("dt", name), element("dd", lines(_below(text)))]) for name, text in rows))


def _below(text: str) -> str:
    """What is in brackets after a number, in a line of its own."""
    return text.replace(" (", "\n").replace(")", "")

"""Two sliders, for latency and drop, that say which trial `autoopt pull` picks with these limits, and its command."""

from __future__ import annotations

import json

from markupsafe import Markup

from autoopt.core.records import TrialRecord
from autoopt.deploy.policies import PICKS
from autoopt.report.next_commands import pull_command
from autoopt.report.page.html import command, element, joined, paragraph
from autoopt.report.page.limit_choices import Choices, choices
from autoopt.report.page.subject import Subject
from autoopt.report.page.words import drop_words, latency_words, named, other_words, size_words

LATENCY, DROP, PICK = "LATENCY", "DROP", "PICK"
"""What script.js puts the options and the policy in the place of, in the command."""


def render(subject: Subject) -> Markup:
    """The sliders with all their answers; nothing where no limit can be asked about. Hidden without script."""
    found, card = choices(subject.result), subject.result.card
    if found is None:
        return Markup("")
    lost, _ = drop_words({}, less_is_better=card.less_is_better)
    return element(
        "form",
        element("h3", "With other limits"),
        _slider("latency", "Largest latency", len(found.latencies), found.own[0]),
        _slider("drop", f"Largest {lost} of {card.primary}", len(found.drops), found.own[1]),
        _policies(),
        paragraph(class_="picked"),
        command("", name="the command for these limits"),
        _data(subject, found),
        id="limits",
        class_="controls",
        hidden=True,
    )


def _slider(name: str, label: str, stops: int, place: int) -> Markup:
    slider = element("input", type="range", id=f"most-{name}", name=name, min=0, max=stops - 1, value=place, step=1)
    return paragraph(element("label", label, for_=f"most-{name}"), slider, element("output", for_=f"most-{name}"))


def _policies() -> Markup:
    choices = [element("option", pick, value=pick, selected=pick == "balanced") for pick in PICKS]
    return paragraph(element("label", "Pick", for_="pick"), element("select", *choices, id="pick", name="pick"))


def _data(subject: Subject, found: Choices) -> Markup:
    """The answers as JSON: no text in it can end the element, since no "<" is left."""
    more = f" {LATENCY} {DROP}"
    numbers = {number for rows in found.picked.values() for row in rows for number in row if number is not None}
    records = [subject.result.by_number(number) for number in sorted(numbers)]
    value = {
        "latencies": [stop.option for stop in found.latencies],
        "drops": [stop.option for stop in found.drops],
        "picked": found.picked,
        "words": {record.number: _words(subject, record) for record in records if record is not None},
        "command": pull_command(subject.result.card.name, PICK, subject.place, more=more),
    }
    text = json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
    return joined([Markup('<script type="application/json">{}</script>').format(Markup(text))])  # noqa: S704  no "<"


def _words(subject: Subject, record: TrialRecord) -> str:
    numbers = subject.result.headline(record)
    name, drop = drop_words(numbers, less_is_better=subject.result.card.less_is_better)
    told = [latency_words(numbers), f"{name} {drop}" if drop else "", size_words(numbers)]
    told += [f"{title} {words}" for title, words in other_words(subject.result, record).items()]
    return f"{named(record)}: {', '.join(text for text in told if text)}"

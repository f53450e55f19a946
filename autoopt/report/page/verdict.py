"""The verdict in one sentence: what to deploy, how much faster, what it loses, on which host."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

from autoopt.core.card import StudyCard
from autoopt.core.records import TrialRecord
from autoopt.deploy.nothing_fits import nothing_fits
from autoopt.deploy.pick import picked
from autoopt.report.page.html import element, joined, paragraph, trial_link
from autoopt.report.page.subject import Subject
from autoopt.report.page.words import OVER, latency_words, loss_words, named, speedup_words
from autoopt.study.limits import in_words
from autoopt.study.result import StudyResult

PICK = "balanced"
"""The policy whose choice the verdict names, as `autoopt pull` takes it without limits."""
MOST_NUMBERS = 12
"""Trials that are named in a sentence; the others are counted."""


def render(subject: Subject) -> Markup:
    """The sentence with what limits it, or why nothing can be deployed."""
    result = subject.result
    if not result.front:
        return element("pre", nothing_fits(result), class_="answer")
    record = picked(result, PICK)
    answer = paragraph(
        "Deploy ", trial_link(record.number), f" ({named(record)}): {_sentence(result, record)}", class_="answer"
    )
    return joined([answer, *(paragraph(text, class_="doubt") for text in _doubts(result, record))])


def _sentence(result: StudyResult, record: TrialRecord) -> str:
    card, numbers = result.card, result.headline(record)
    parts = [f"{latency_words(numbers)} per {card.latency}"]
    times = [f"{text} times as fast as {name}" for over, name in OVER.items() if (text := speedup_words(numbers, over))]
    parts += [" and ".join(times)] if times else []
    is_reference = result.reference is not None and record.number == result.reference.number
    parts.append("it is the reference itself" if is_reference else _loss(numbers, card))
    host = f"measured on {card.host.cpu} with {card.host.cores} cores"
    limits = in_words(card.limits)
    return f"{', '.join(parts)}; {host}{f', within {limits}' if limits else ''}."


def _loss(numbers: Mapping[str, float], card: StudyCard) -> str:
    """What is lost or gained on val and on test, each with its bound."""
    verb, words = loss_words(numbers, less_is_better=card.less_is_better)
    if not words:
        return "its loss is not known"
    on_val = f"its {card.primary} {verb} {words}" if card.less_is_better else f"it {verb} {words} of {card.primary}"
    other, more = loss_words(numbers, "test_", less_is_better=card.less_is_better)
    if not more:
        return f"{on_val} on val, and was not scored on test"
    return f"{on_val} on val and {more if other == verb else f'{other} {more}'} on test"


def _doubts(result: StudyResult, record: TrialRecord) -> list[str]:
    """What a reader must know before following the sentence."""
    found = []
    if result.confirmed_on_test(record) is False:
        held = [other for other in result.front if result.confirmed_on_test(other)]
        others = f" {_numbers(held)} did: see below." if held else ""
        found.append(f"#{record.number} did not keep the limit of the drop on test.{others}")
    leader = result.ties.get(record.number, record.number)
    same = [other for other in result.front if result.ties[other.number] == leader and other.number != record.number]
    if same:
        listed, more = same[:MOST_NUMBERS], len(same) - MOST_NUMBERS
        others = f"{_numbers(listed)}{f' and {more} more' if more > 0 else ''}"
        found.append(f"Neither latency nor quality tells #{record.number} from {others}.")
    if result.stand_in:
        found.append(f"Drops are not against PyTorch FP32: {result.stand_in}.")
    return found + ([result.card.weights_remark] if result.card.weights_remark else [])


def _numbers(records: list[TrialRecord]) -> str:
    return ", ".join(f"#{record.number}" for record in records)

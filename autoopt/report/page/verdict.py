"""The verdict in one sentence: what to deploy, how much faster, what it loses, on which host."""

from __future__ import annotations

from collections.abc import Mapping

from markupsafe import Markup

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
    parts.append(_loss(numbers, card.primary))
    host = f"measured on {card.host.cpu} with {card.host.cores} cores"
    limits = in_words(card.limits)
    return f"{', '.join(parts)}; {host}{f', within {limits}' if limits else ''}."


def _loss(numbers: Mapping[str, float], primary: str) -> str:
    """What is lost on val and on test, each with its bound."""
    if "drop" not in numbers:
        return "its loss is not known"
    on_test = (
        f" and {loss_words(numbers, 'test_')} on test" if "test_drop" in numbers else ", and was not scored on test"
    )
    return f"it loses {loss_words(numbers)} of {primary} on val{on_test}"


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
        found.append(f"Neither latency nor quality tells #{record.number} from {_numbers(same)}.")
    if result.stand_in:
        found.append(f"Drops are not against PyTorch FP32: {result.stand_in}.")
    return found + ([result.card.weights_remark] if result.card.weights_remark else [])


def _numbers(records: list[TrialRecord]) -> str:
    return ", ".join(f"#{record.number}" for record in records)

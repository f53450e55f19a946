"""The page that compares two studies: doubts first, then which is better where, the picture, the tables."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

from markupsafe import Markup

from autoopt.core import stats
from autoopt.core.records import TrialRecord
from autoopt.report.compare_studies import Counterpart, Dominance, Stretch, StudyComparison
from autoopt.report.next_commands import Place
from autoopt.report.page import comparison_facts, comparison_picture
from autoopt.report.page.comparison_picture import LETTERS, anchor, name
from autoopt.report.page.html import Cell, Child, Row, bullets, command, element, joined, paragraph, table
from autoopt.report.page.page import document
from autoopt.report.page.words import latency_words, named, size_words
from autoopt.report.trial_diff import NOT_SET, OFF, Setting
from autoopt.study.named import named_study
from autoopt.study.request import default_storage
from autoopt.study.result import StudyResult

FAIR = "Nothing makes this comparison doubtful: the same host, versions, data, weights, metric and reference."
MOST_SETTINGS = 6
"""So many settings that differ are named; the others are counted."""


def comparison_text(names: tuple[str, str], home: Path, storage: str | None = None) -> str:
    """The page about two stored studies, each named STUDY or HOME/STUDY. Raises NoStudy, StorageError."""
    url = storage or default_storage(home)
    first, second = (named_study(name, url) for name in names)
    return comparison_html(StudyComparison(first, second), names, Place(home, storage))


def comparison_html(both: StudyComparison, typed: tuple[str, str], place: Place | None = None) -> str:
    """The whole page: UTF-8 HTML that asks for no other file.

    `typed` are the names of the studies as they must be typed: STUDY or HOME/STUDY.
    """
    names = (f"A: {both.first.card.name}", f"B: {both.second.card.name}")
    shown = (
        ("doubts", "Doubts", _doubts(both)),
        ("verdict", "Which is better where", _verdict(both)),
        ("picture", "Both fronts", comparison_picture.render(both)),
        ("members", "Members", _members(both)),
        ("first", "A beside B", _counterparts(both, 0)),
        ("second", "B beside A", _counterparts(both, 1)),
        ("commands", "Look closer", _commands(both, typed, place or Place())),
        ("facts", "Side by side", comparison_facts.render(both, names)),
    )
    titles = list(dict.fromkeys(study.card.title for study in both.studies))
    about: list[Child] = [
        paragraph(_about(letter, study), class_="note") for letter, study in zip(LETTERS, both.studies, strict=True)
    ]
    heading = f"Two studies of {' and '.join(titles)}"
    demo = any(study.card.demo for study in both.studies)
    return document(heading, about, [one for one in shown if one[2]], demo=demo)


def _about(letter: str, study: StudyResult) -> str:
    card = study.card
    counts = f"{len(study.records)} trials, {len(study.front)} on the front"
    return f"{letter}: study {card.name}, {counts}; {card.host.cpu}, {card.host.cores} cores."


def _doubts(both: StudyComparison) -> Markup:
    if not both.doubts:
        return paragraph(FAIR)
    return element("div", paragraph("What makes this comparison doubtful:"), bullets(both.doubts), class_="doubt")


def _verdict(both: StudyComparison) -> Markup:
    found = both.dominance
    if found is None:
        return paragraph(f"Neither can be called better: {both.why_not}.", class_="answer")
    card = both.first.card
    area = (
        f"Shares of the area of log latency and {card.primary} that the fronts dominate together, up to a corner a "
        "tenth of the span beyond their worst members; as measured, the noise of latencies is not in it. "
    )
    if both.one_reference:
        area += "Ratios of latencies below are over the one reference beside which both were measured."
    elif not both.same_host:
        area += "Latencies of other hosts or versions are taken as they are."
    said = [_stretch(both, stretch) for stretch in found.stretches]
    return joined([paragraph(_shares(found), class_="answer"), bullets(said), paragraph(area, class_="note")])


def _shares(found: Dominance) -> str:
    """Both shares in one sentence."""
    if max(found.only) < 0.0005:
        return "Both fronts reach the same."
    first, second = (f"{share:.1%}" for share in found.only)
    leader = 0 if found.only[0] > found.only[1] else 1
    more = f"{LETTERS[leader]} reaches more"
    if min(found.only) < 0.0005:
        more = f"{LETTERS[leader]} is nowhere behind"
    return f"{more}: A alone reaches {first} of what both fronts reach, B alone {second}, both {found.both:.1%}."


def _stretch(both: StudyComparison, stretch: Stretch) -> str:
    """What both offer for latencies within a range."""
    start = f"{stretch.from_s * 1e3:.3g}"
    up_to = "on" if math.isinf(stretch.to_s) else f"to {stretch.to_s * 1e3:.3g} ms"
    where = f"From {start} ms on" if up_to == "on" else f"From {start} {up_to}"
    first, second = stretch.first, stretch.second
    if first is None or second is None:
        letter, record = ("B", second) if first is None else ("A", first)
        assert record is not None and record.quality is not None
        return f"{where} only {letter} has a model: {letter}#{record.number}, {record.quality.value:.4f}."
    assert first.quality is not None and second.quality is not None
    scores = f"at its end A#{first.number} {first.quality.value:.4f}, B#{second.number} {second.quality.value:.4f}"
    told = _drop_words(both.drop(first, second))
    verdict = "no difference can be told" if stretch.better is None else f"{LETTERS[stretch.better]} is better"
    return f"{where} {verdict} ({scores}{f'; drop from A to B {told}' if told else ''})."


def _members(both: StudyComparison) -> Markup:
    """Both fronts in one table, fastest first."""
    rows = [(record, place, study) for place, study in enumerate(both.studies) for record in study.front]
    rows.sort(key=lambda item: (item[0].measured.latency_p25_s, item[1], item[0].number))
    header = ("trial", "configuration", "p25 ms", both.first.card.primary, "size")
    return table(header, [_member(*row) for row in rows], texts=(1,)) if rows else Markup("")


def _member(record: TrialRecord, place: int, study: StudyResult) -> Row:
    numbers = study.headline(record)
    assert record.quality is not None
    cells = (
        name(place, record.number),
        named(record),
        Cell(latency_words(numbers), record.measured.latency_p25_s),
        f"{record.quality.value:.4f}",
        Cell(size_words(numbers), record.measured.artifact_bytes),
    )
    key = anchor(place, record.number)
    return Row(cells, number=key, anchor=key)


def _counterparts(both: StudyComparison, place: int) -> Markup:
    """The members of one front, each beside the nearest trial of the other study."""
    mine, other = LETTERS[place], LETTERS[1 - place]
    header = (f"front of {mine}", f"nearest in {other}", "what differs, A -> B", "latency B / A", "drop from A to B")
    rows = [_counterpart(item, place) for item in both.counterparts[place]]
    note = "A latency above 1 means that B is slower, a drop above 0 that B is worse; in brackets 95 % intervals."
    return joined([table(header, rows, texts=(1, 2)), paragraph(note, class_="note")]) if rows else Markup("")


def _counterpart(item: Counterpart, place: int) -> Row:
    pair = (item.first, item.second)
    member, other = pair[place], pair[1 - place]
    ratio = item.slower
    cells = (
        f"{name(place, member.number)}\n{named(member)}",
        f"{name(1 - place, other.number)}\n{named(other)}{'' if other.status == 'complete' else f', {other.status}'}",
        _settings(item.settings),
        Cell("what is timed differs" if ratio is None else _ratio_words(ratio), None if ratio is None else ratio.value),
        Cell(_drop_words(item.drop) or "not comparable", None if item.drop is None else item.drop.value),
    )
    return Row(cells, number=anchor(place, member.number))


def _settings(settings: tuple[Setting, ...]) -> str:
    if not settings:
        return "nothing: the same configuration"
    named_ones = [f"{item.name} {_value(item.before)} -> {_value(item.after)}" for item in settings[:MOST_SETTINGS]]
    more = len(settings) - MOST_SETTINGS
    return "; ".join([*named_ones, f"{more} more"] if more > 0 else named_ones)


def _value(value: object) -> str:
    if value is None:
        return OFF
    text = str(value)
    return text if text == NOT_SET or len(text) <= 40 else f"{text[:37]}..."


def _ratio_words(ratio: stats.LogRatio) -> str:
    low, high = ratio.interval()
    return f"{ratio.ratio:.3g} ({low:.3g}-{high:.3g})"


def _drop_words(drop: stats.Drop | None) -> str:
    """Such as: +0.0075 (+0.0061 to +0.0089); empty where it is not known."""
    if drop is None:
        return ""
    if not drop.value and not any(drop.differences):
        return "0 (no patient differs)"
    if not math.isfinite(drop.low + drop.high):
        return f"{drop.value:+z.4f} (one patient)"
    return f"{drop.value:+z.4f} ({drop.low:+z.4f} to {drop.high:+z.4f})"


def _commands(both: StudyComparison, typed: tuple[str, str], place: Place) -> Markup:
    """How to hold two trials against each other, and how to write this page again."""
    found = [
        command(f"autoopt report {' '.join(map(shlex.quote, typed))}{place.flags}", name="the command of this page")
    ]
    if both.counterparts[0] and both.same_scores and not both.one_study:
        pair = both.counterparts[0][0]
        trials = [f"{study}/{record.number}" for study, record in zip(typed, (pair.first, pair.second), strict=True)]
        found.insert(
            0, command(f"autoopt diff {' '.join(map(shlex.quote, trials))}{place.flags}", name="the comparison")
        )
    return joined(found)

"""The page as one text of HTML: head, style, sections, script."""

from __future__ import annotations

from importlib import resources

from markupsafe import Markup

from autoopt.core.records import Status
from autoopt.report.page.html import element, joined, paragraph
from autoopt.report.page.sections import SECTIONS, Section
from autoopt.report.page.subject import Subject
from autoopt.study.result import StudyResult

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""What a browser may load for the page: nothing but what is in it."""


def report_html(subject: Subject) -> str:
    """The whole report of a study: UTF-8 HTML that asks for no other file."""
    found = [(section, shown) for section in SECTIONS if (shown := section.render(subject))]
    title = subject.result.card.title
    head = [
        element("title", f"{title}: study {subject.result.card.name}"),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta http-equiv="Content-Security-Policy" content="{}">').format(POLICY),
        Markup('<link rel="icon" href="data:,">'),
        element("style", _own("style.css")),
    ]
    links = [element("a", section.heading, href=f"#{section.anchor}") for section, _ in found]
    body = [
        element("header", element("h1", title), _demo(subject), paragraph(_about(subject.result), class_="note")),
        element("nav", *links, aria_label="Sections"),
        element("main", *(element("section", _heading(one), shown, id=one.anchor) for one, shown in found)),
        element("script", _own("script.js")),
    ]
    return Markup(
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{}</head><body>{}</body></html>\n'
    ).format(joined(head), joined(body))


def _heading(section: Section) -> Markup:
    return element("h2", section.heading)


def _demo(subject: Subject) -> Markup | None:
    """A bar that says so where the data were invented: numbers of demo data say nothing of patients."""
    if not subject.result.card.demo:
        return None
    return paragraph("Demo data: invented images. These numbers say nothing of patients.", class_="demo", role="note")


def _about(result: StudyResult) -> str:
    """The study in a line: its name, its trials, its host."""
    card, failed = result.card, sum(record.status is Status.FAILED for record in result.records)
    trials = f"{len(result.records)} trials, {failed} failed" if failed else f"{len(result.records)} trials"
    return f"Study {card.name}: {trials}, {len(result.front)} on the front; {card.host.cpu}, {card.host.cores} cores."


def _own(name: str) -> Markup:
    """A file of this folder, as it stands: ours, so nothing in it is escaped."""
    return Markup(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))  # noqa: S704

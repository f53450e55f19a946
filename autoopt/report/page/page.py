"""The page as one text of HTML: head, style, sections, script."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from markupsafe import Markup

from autoopt.core.records import Status
from autoopt.report.number_text import counted
from autoopt.report.page.html import Child, element, joined, paragraph
from autoopt.report.page.sections import SECTIONS
from autoopt.report.page.subject import Subject
from autoopt.study.result import StudyResult

POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:"
"""What a browser may load for the page: nothing but what is in it."""
DEMO = "Demo data: invented images. These numbers say nothing of patients."
"""Said in a bar that prints."""


def report_html(subject: Subject) -> str:
    """The whole report of a study: UTF-8 HTML that asks for no other file."""
    found = [(one.anchor, one.heading, shown) for one in SECTIONS if (shown := one.render(subject))]
    card = subject.result.card
    about = [paragraph(_about(subject.result), class_="note")]
    return document(card.title, about, found, demo=card.demo, window=f"{card.title}: study {card.name}")


def document(
    title: str, about: Sequence[Child], sections: Sequence[tuple[str, str, Markup]], *, demo: bool, window: str = ""
) -> str:
    """A page with style and script: its title, what stands below it, and sections (anchor, heading, content).

    With `demo` a bar says that the data are invented; `window` is the title of the window, by default that of the page.
    """
    head = [
        element("title", window or title),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta http-equiv="Content-Security-Policy" content="{}">').format(POLICY),
        Markup('<link rel="icon" href="data:,">'),
        element("style", _own("style.css") + _own("evidence.css")),
    ]
    links = [element("a", heading, href=f"#{anchor}") for anchor, heading, _ in sections]
    body = [
        element("header", element("h1", title), paragraph(DEMO, class_="demo", role="note") if demo else None, *about),
        element("nav", *links, aria_label="Sections"),
        element("main", *(element("section", element("h2", name), shown, id=one) for one, name, shown in sections)),
        element("script", _own("script.js")),
    ]
    return Markup(
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">{}</head><body>{}</body></html>\n'
    ).format(joined(head), joined(body))


def _about(result: StudyResult) -> str:
    """The study in a line: its name, its trials, its host."""
    card, failed = result.card, sum(record.status is Status.FAILED for record in result.records)
    trials = f"{counted(len(result.records), 'trial')}{f', {failed} failed' if failed else ''}"
    return f"Study {card.name}: {trials}, {len(result.front)} on the front; {card.host.cpu}, {card.host.cores} cores."


def _own(name: str) -> Markup:
    """A file of this folder, as it stands: ours, so nothing in it is escaped."""
    return Markup(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))  # noqa: S704

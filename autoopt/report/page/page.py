"""The page as one text of HTML: head, style, sections, script."""

from __future__ import annotations

from importlib import resources

from markupsafe import Markup

from autoopt.report.page.sections import SECTIONS
from autoopt.report.page.subject import Subject


def report_html(subject: Subject) -> str:
    """The whole report of a study: UTF-8 HTML that asks for no other file."""
    parts = [
        Markup('<section id="{}"><h2>{}</h2>{}</section>').format(section.anchor, section.heading, found)
        for section in SECTIONS
        if (found := section.render(subject))
    ]
    title = subject.result.card.title
    return Markup(
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{}</title><style>{}</style></head>'
        "<body><main><h1>{}</h1>{}</main><script>{}</script></body></html>\n"
    ).format(title, _own("style.css"), title, Markup("").join(parts), _own("script.js"))


def _own(name: str) -> Markup:
    """A file of this folder, as it stands: ours, so nothing in it is escaped."""
    return Markup(resources.files(__package__).joinpath(name).read_text(encoding="utf-8"))  # noqa: S704

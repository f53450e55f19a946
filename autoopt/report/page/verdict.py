"""The verdict in one sentence: what to deploy, how much faster, what it loses, on which host."""

from __future__ import annotations

from markupsafe import Markup

from autoopt.deploy.nothing_fits import nothing_fits
from autoopt.deploy.pick import choose
from autoopt.report.page.subject import Subject


def render(subject: Subject) -> Markup:
    """The sentence, or why nothing can be deployed."""
    if not subject.result.front:
        return Markup("<p>{}</p>").format(nothing_fits(subject.result))
    return Markup("<p>{}</p>").format(choose(subject.result, pick="balanced").explanation)

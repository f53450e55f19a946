"""What labels and subgroups of patients lose by deploying a member of the front, with bounds."""

from __future__ import annotations

from markupsafe import Markup

from autoopt.core.scores import Quality
from autoopt.report.evidence_losses import GroupLoss, group_losses, shown_metric
from autoopt.report.page.html import Row, element, paragraph, table
from autoopt.report.page.small_plots import Scale, loss_plot, scored, signed
from autoopt.report.page.subject import Subject
from autoopt.report.shown_members import shown_members
from autoopt.study.limits import LABEL, SUBGROUP, in_words
from autoopt.study.words import row_name

NOTE = (
    "The mean loss over patients against the reference, and what it is at most (95 %, one-sided): of few patients this "
    "bound is wide, of one there is none. A loss below zero is a gain."
)


def render(subject: Subject) -> Markup:
    """Tables for the balanced and the fastest member; empty where cases have neither subgroups nor scored labels."""
    result, parts = subject.result, []
    reference = result.reference
    if reference is None:
        return Markup("")
    for policy, record in shown_members(result):
        pairs = ((reference.quality, record.quality), (reference.test, record.test))
        tables = [_table(*pair, result.card.labels) for pair in pairs]
        if any(tables):
            parts.append(element("h3", f"{policy.capitalize()}: {row_name(record)}"))
            parts.append(element("div", *tables, class_="side-by-side wide"))
    if not parts:
        return Markup("")
    limits = in_words({name: bound for name, bound in result.card.limits.items() if name.startswith((SUBGROUP, LABEL))})
    return paragraph(NOTE, f" The study demands: {limits}." if limits else None) + Markup("").join(parts)


def _table(before: Quality | None, after: Quality | None, labels: tuple[str, ...]) -> Markup:
    found = [] if before is None or after is None else group_losses(before, after, labels)
    if len(found) < 2 or before is None or after is None:
        return Markup("")
    ends = [end for loss in found for end in (loss.lost, loss.upper) if end is not None]
    scale = Scale(min(0.0, *ends), max(0.0, *ends))
    of_labels = ", of labels their Dice" if any(loss.kind == "label" for loss in found) else ""
    caption = f"{shown_metric(before, after)} on {after.split}{of_labels}"
    header = ("", "patients", "reference", "loss", "at most", scale.title)
    return table(header, [_row(loss, scale) for loss in found], caption=caption, texts=(5,), sortable=False)


def _row(loss: GroupLoss, scale: Scale) -> Row:
    upper = "" if loss.upper is None else signed(loss.upper)
    plot = loss_plot(loss.lost, loss.upper, scale)
    return Row([loss.title, loss.patients, scored(loss.before), signed(loss.lost), upper, plot])

"""The patients who lose most by deploying a member of the front, against the reference."""

from __future__ import annotations

from markupsafe import Markup

from autoopt.core.records import TrialRecord
from autoopt.core.scores import Quality
from autoopt.report.evidence_losses import Loss, losses, shown_metric
from autoopt.report.page.html import Row, element, table
from autoopt.report.page.small_plots import Scale, change_plot, scored, signed
from autoopt.report.page.subject import Subject
from autoopt.report.shown_members import shown_members
from autoopt.study.words import row_name

MOST = 8
"""How many patients are listed."""


def render(subject: Subject) -> Markup:
    """A table for the balanced and the fastest member, on val and where it was confirmed on test."""
    reference, parts = subject.result.reference, []
    if reference is None:
        return Markup("")
    for policy, record in shown_members(subject.result):
        pairs = ((reference.quality, record.quality), (reference.test, record.test))
        tables = [_table(record, *pair) for pair in pairs]
        if any(tables):
            parts.append(element("h3", f"{policy.capitalize()}: {row_name(record)}"))
            parts.append(element("div", *tables, class_="side-by-side"))
    return Markup("").join(parts)


def _table(record: TrialRecord, before: Quality | None, after: Quality | None) -> Markup:
    metric = None if before is None or after is None else shown_metric(before, after)
    if before is None or after is None or metric is None:
        return Markup("")
    word, found = losses(before, after, metric)
    if not found:
        return Markup("")
    worst = found[:MOST]
    values = [value for loss in worst for value in (loss.before, loss.after)]
    scale = Scale(min(values), max(values))
    header = (word, "reference", f"#{record.number}", "change", scale.title)
    rows = [_row(loss, scale) for loss in worst]
    caption = _caption(found, word, metric, after.split, less_is_better=before.sign(metric) < 0)
    return table(header, rows, caption=caption, texts=(4,), sortable=False)


def _row(loss: Loss, scale: Scale) -> Row:
    plot = change_plot(loss.before, loss.after, scale, worse=loss.shows)
    return Row([loss.name, scored(loss.before), scored(loss.after), signed(loss.after - loss.before), plot])


def _caption(found: list[Loss], word: str, metric: str, split: str, *, less_is_better: bool) -> str:
    """Such as: dice_macro on val: 2 of 5 patients lose, P14 most; the 5 worst are listed."""
    losing = [loss for loss in found if loss.shows]
    if losing:
        told = f"{len(losing)} of {len(found)} {word}s lose, {losing[0].name} most"
    else:
        told = f"none of {len(found)} {word}s loses"
    less = " (less is better)" if less_is_better else ""
    listed = f"; the {MOST} worst are listed" if len(found) > MOST else ""
    return f"{metric}{less} on {split}: {told}{listed}"

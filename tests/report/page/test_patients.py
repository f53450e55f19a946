"""The worst patients in a report."""

from __future__ import annotations

from autoopt.report.page import patients
from autoopt.report.page.subject import Subject
from tests.report.page.planted import planted_study


def test_both_members_show_their_patients_on_val_and_test() -> None:
    """The balanced and the fastest member have a table of patients, on test only where it was confirmed."""
    text = patients.render(Subject(planted_study()))
    assert "Fastest: #005" in text and "Balanced: #010" in text
    assert text.count("<caption>dice_macro on val: 6 of 6") == 2 and text.count("<caption>dice_macro on test") == 1
    assert text.count("<svg") == 18


def test_names_of_patients_are_text() -> None:
    """A patient's name is shown as it is, never as markup."""
    from dataclasses import replace

    study = planted_study()
    records = [
        record
        if record.quality is None
        else replace(
            record,
            quality=replace(
                record.quality, cases=tuple(replace(c, group=f"<i>{c.group}") for c in record.quality.cases)
            ),
        )
        for record in study.records
    ]
    text = patients.render(Subject(replace(study, records=tuple(records))))
    assert "<i>" not in text and "&lt;i&gt;patient0" in text


def test_without_a_front_there_are_no_patients() -> None:
    """Where nothing can be deployed nobody loses by it."""
    assert not patients.render(Subject(planted_study(limits={"latency_s": 1e-6})))

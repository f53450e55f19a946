"""The members that are shown in detail."""

from __future__ import annotations

from dataclasses import replace

from autoopt.report.shown_members import shown_members
from tests.report.page.planted import planted_study


def test_policies_of_one_member_share_it() -> None:
    """The balanced and the fastest member are shown once each, together where they are one; never the reference."""
    study = planted_study()
    assert [(name, record.number) for name, record in shown_members(study)] == [("balanced", 10), ("fastest", 5)]
    alone = replace(study, records=tuple(record for record in study.records if record.number in (0, 5)))
    front = {record.number for record in alone.front}
    assert front == {0, 5} and [record.number for _, record in shown_members(alone)] == [5]
    assert shown_members(planted_study(limits={"latency_s": 1e-6})) == ()

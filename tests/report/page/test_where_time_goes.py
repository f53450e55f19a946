"""Where the time goes, in a report."""

from __future__ import annotations

from pathlib import Path

from autoopt.core.records import TrialRecord
from autoopt.measure.case_stages import CaseStages
from autoopt.measure.profiling import Profile
from autoopt.report.evidence_profile import PROFILES, KeptProfile, KeptSide
from autoopt.report.next_commands import Place
from autoopt.report.page import where_time_goes
from autoopt.report.page.html import text_of
from autoopt.report.page.subject import Subject
from autoopt.report.shown_members import shown_members
from tests.report.page.planted import planted_study
from tests.report.profiles import CONVERTED, FLOAT, conv

MANY = [conv(0, 1, "f32")] + [
    type(FLOAT[0])(f"l{index}", f"Kind{index}", "k", "f32", (9 - index) / 1e3) for index in range(9)
]


def kept(*layers: list, case: bool = False) -> KeptProfile:  # type: ignore[type-arg]
    stages = CaseStages(1, 0.01, 0.08, 0.01) if case else None
    sides = tuple(KeptSide(n, f"#{n} <b>", Profile(tuple(item), 0.04, stages)) for n, item in enumerate(layers, 10))
    return KeptProfile(sides, ("It is slower.",), ("another host",), "2026-01-01")


def chosen() -> TrialRecord:
    return shown_members(planted_study())[0][1]


def test_what_is_kept_is_drawn_and_listed() -> None:
    """Every part of a case stands in a bar and in the table with its share; names are text."""
    shown = where_time_goes.render(
        Subject(planted_study(), evidence={PROFILES: {10: kept(CONVERTED, FLOAT, case=True)}})
    )
    text = text_of(shown)
    assert "before the network1010 %1010 %" in text and "after the network" in text
    assert "#10 <b>" in text and "<b>" not in shown and "autoopt explain" not in text
    assert shown.count("<rect") == 2 * 5 and "another host" in text


def test_many_kinds_of_layers_become_a_few() -> None:
    """At most six kinds have a part of their own, the rest is one; all shares add up to what a call takes."""
    shown = text_of(where_time_goes.render(Subject(planted_study(), evidence={PROFILES: {10: kept(MANY)}})))
    assert "other layers" in shown and "kind5" in shown.lower() and "kind8" not in shown.lower()
    assert "a call of the network" in shown


def test_without_a_profile_the_command_is_told() -> None:
    """Where nothing is kept the command that finds it out is shown, also why an attempt failed."""
    place = Place(Path("/elsewhere"))
    command = "autoopt explain planted/10 --home /elsewhere"
    assert command in text_of(where_time_goes.render(Subject(planted_study(), place)))
    failed = where_time_goes.render(Subject(planted_study(), place, {PROFILES: "It could not be profiled: gone."}))
    assert "It could not be profiled: gone." in failed and command in text_of(failed)

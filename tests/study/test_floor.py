"""How far the front is from the floor."""

from __future__ import annotations

from dataclasses import replace

import pytest

from autoopt.core.records import CONTROL
from autoopt.report.front_json import front_json
from autoopt.report.tables import front_markdown, front_notes
from autoopt.study.floor import floor_of
from autoopt.study.result import StudyResult
from tests.study.test_result import CARD, STUDY, record

FREE = replace(CARD, limits={})
LAYER = record(7, 0.002, 0.40, origin=CONTROL, label="one layer")
WITH = replace(STUDY, card=FREE, records=(*STUDY.records, LAYER))


def test_the_control_is_on_no_front() -> None:
    """The fastest trial of all is no member where it is the control, also in a study that grows by it."""
    before = replace(WITH, records=STUDY.records)
    _ = before.front
    assert WITH.front == before.front and WITH.complete == before.complete
    assert before.plus(LAYER).front == before.front and before.plus(LAYER).complete == before.complete


def test_the_floor_is_the_ratio_to_the_fastest_member() -> None:
    """It says how many times longer the fastest member takes, with an interval, and what the control scored."""
    found = floor_of(WITH)
    assert found is not None and (found.control, found.fastest, found.quality) == (7, 4, 0.40)
    assert found.ratio == pytest.approx(0.005 / 0.002) and found.low < found.ratio < found.high
    assert front_json(WITH)["floor"]["ratio"] == found.ratio
    assert any("2.50" in note and "#7" in note and "dice_macro 0.4000" in note for note in front_notes(WITH))
    assert "| #7 | FP32, number 7 on fake (control) |" in front_markdown(WITH)


def test_no_control_no_floor() -> None:
    """A study without a control, or without a front, says nothing of a floor."""
    assert floor_of(STUDY) is None and front_json(STUDY)["floor"] is None
    assert floor_of(StudyResult(FREE, (LAYER,))) is None

"""The front as a table: what every number needs stands with it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from autoopt.core.card import StudyCard
from autoopt.core.configuration import Configuration, Scalar
from autoopt.core.records import Status, TrialRecord
from autoopt.report.front_json import front_json
from autoopt.report.tables import columns, front_markdown, front_notes, front_rows, reference_rows
from autoopt.study.result import StudyResult
from tests.worlds import HOST, measured, scored

CARD = StudyCard("s", "tiny", True, "dice_macro", "d", "w", "{}", ("latency", "quality"), 0, HOST, {"drop": 0.05})
INT8: dict[str, Scalar] = {
    "scheme": "int8",
    "tool": "nncf",
    "preset": "performance",
    "activations": "symmetric",
    "bias_correction": "accurate",
    "calibration_cases": 300,
    "keep_float": 3,
}


def trial(number: int, latency_s: float, value: float, *, int8: bool = False, processes: int = 2, **changes: object):  # type: ignore[no-untyped-def]
    runtime: dict[str, Scalar] = {"name": "openvino", "precision": "f32", "threads": number, "streams": 1}
    made = TrialRecord(
        Configuration.of({"quantize": INT8 if int8 else None, "runtime": runtime}),
        Status.COMPLETE,
        number,
        measurement=replace(measured(latency_s, processes=processes), peaks_rss_bytes=(9 * 10**5, 10**6)[:processes]),
        quality=scored(value),
        test=scored(value, "test"),
    )
    return replace(made, **changes)


STUDY = StudyResult(
    CARD,
    (
        trial(0, 1.0, 0.91, origin="seed", label="torch f32"),
        trial(1, 0.1, 0.90, origin="seed", label="openvino f32"),
        trial(2, 0.08, 0.85, origin="model"),
        trial(3, 0.08, 0.905),
        trial(4, 0.02, 0.88, int8=True, processes=1),
    ),
)


def test_speedups_are_over_pytorch_openvino_and_the_best_float_trial() -> None:
    """The fastest float trial that keeps the limits is the third yardstick, and a row of its own or of the front."""
    assert STUDY.best_float is not None and STUDY.best_float.number == 3
    numbers = STUDY.headline(STUDY.records[4])
    assert numbers["speedup_vs_best_float"] == pytest.approx(4.0, rel=0.01)
    assert numbers["speedup_vs_openvino_f32"] == pytest.approx(5.0, rel=0.01)
    assert "x float: over #3" in front_notes(STUDY)[0]
    rows = [*front_rows(STUDY), *reference_rows(STUDY)]
    assert [row[0] for row in rows] == ["#4", "#3", "#0", "#1"]
    only = replace(STUDY, records=STUDY.records[4:], card=replace(CARD, limits={}))
    assert only.best_float is None and "no trial in float is complete" in front_notes(only)[0]


def test_a_drop_of_nothing_has_no_minus() -> None:
    """What is gained in digits that are not shown is no drop of minus nothing."""
    better = replace(STUDY, records=(*STUDY.records[:3], trial(3, 0.08, 0.91 + 1e-6)))
    rows = dict(zip(columns(better), front_rows(better)[-1], strict=True))
    assert rows["drop"] == rows["on test"] == "+0.0000\n<= +0.0000"


def test_every_cell_has_its_interval_or_a_question_mark_with_a_note() -> None:
    """Below a number stand its ends; where there are none stands a question mark, and a note says of which and why."""
    rows = dict(zip(columns(STUDY), front_rows(STUDY)[0], strict=True))
    low, high = rows["p25 ms"].splitlines()[1].split("-")
    assert float(low) < float(rows["p25 ms"].splitlines()[0]) < float(high)
    assert rows["peak MB"] == "1\n?"
    notes = front_notes(STUDY)
    assert "? peak MB: one process was measured: what others would hold is not known (#4)." in notes
    assert not any("it is the trial that others" in note for note in notes)
    member = front_json(STUDY)["front"][0]
    assert member["no_interval"]["latency_p99_ms"].startswith("12 calls were timed, it needs 368")
    assert json.dumps(member)
    text = front_markdown(STUDY)
    assert "1<br>? |" in text and "- ? peak MB: one process" in text


def test_a_busy_host_is_said_beside_the_front() -> None:
    """Trials beside which the reference was slow are counted; a host that was never left alone is named as such."""
    assert not any("host" in note for note in front_notes(STUDY))
    slow = replace(STUDY.records[4], measurement=measured(0.02, slower=2.0))
    notes = front_notes(replace(STUDY, records=(*STUDY.records[:4], slow)))
    assert any(note.startswith("The host was slower beside 1 of 5 trials") for note in notes)
    loaded = [replace(r, measurement=replace(r.measured, foreign_share=0.4)) for r in STUDY.records]
    assert any("took 40% of the cores" in note for note in front_notes(replace(STUDY, records=tuple(loaded))))


def test_a_drop_that_rounds_to_zero_has_one_sign() -> None:
    """A quality that rose by less than a digit of the table is no other zero than one that fell."""
    rows = [front_rows(StudyResult(CARD, (STUDY.records[0], trial(1, 0.1, value)))) for value in (0.91001, 0.90999)]
    place = columns(STUDY).index("drop")
    assert [row[0][place].splitlines()[0] for row in rows] == ["+0.0000", "+0.0000"]

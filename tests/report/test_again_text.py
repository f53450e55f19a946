"""A study that was measured again, in words."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from autoopt.core.records import Failure, Status
from autoopt.report.again_text import again_text
from autoopt.study.again import StudyAgain
from tests.study.test_again import BEFORE, study_of, trial


def test_each_member_has_a_line_and_what_is_wrong_with_it(tmp_path: Path) -> None:
    """Numbers now and then, reasons, what the runtime does otherwise, and that the data are those of the demo."""
    crash = Failure("unsupported", "look", "no such kernel")
    failed = replace(trial(3, 1, 1), status=Status.FAILED, measurement=None, quality=None, failure=crash)
    other = trial(4, 0.020, 0.885)
    other = replace(other, measurement=replace(other.measured, effective={"threads": 1}))
    after = (trial(2, 0.010, 0.86), failed, other)
    lines = again_text(StudyAgain(study_of(tmp_path, BEFORE), study_of(tmp_path, after)))
    assert "tiny (demo data), measured again as s on cpu" in lines[0]
    assert any(line.startswith("stays #2") and "p25 ms 9.99 (then 9.99)" in line for line in lines)
    assert any(line.startswith("goes  #3") and "p25 ms unknown (then 19.98)" in line for line in lines)
    assert any(line.startswith("stays #4") and "dice_macro 0.8850 (then 0.8800)" in line for line in lines)
    assert "      it failed (unsupported): no such kernel" in lines
    assert "      effective threads was None, now it is 1" in lines
    assert any("beside the reference a call takes 0.67 times the time" in line for line in lines)

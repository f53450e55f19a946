"""The front of a study as a picture."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np

from autoopt.report.front_picture import draw, front_picture
from autoopt.report.front_view import view_of
from autoopt.study.result import StudyResult
from autoopt.study.uncertainty import latency_interval
from tests.deploy.studies import CARD, FAILED, STUDY, record
from tests.report.test_tables import trial
from tests.worlds import scored


def test_the_picture_is_a_png() -> None:
    """A study with a front, references, an infeasible and a failed trial is a picture that is not blank."""
    from PIL import Image

    limited = replace(STUDY, card=replace(CARD, limits={"drop": 0.05, "latency_s": 0.02}))
    with Image.open(BytesIO(front_picture(limited))) as image:
        assert (image.format, image.width > 1000) == ("PNG", True)
        assert np.asarray(image.convert("L")).std() > 5


def texts(result: StudyResult) -> list[str]:
    return [str(text.get_text()) for text in draw(result).axes[0].texts]


def legend(result: StudyResult) -> list[str]:
    return [str(label) for label in draw(result).axes[0].get_legend_handles_labels()[1]]


def test_the_axes_fit_the_trials_whatever_the_limits() -> None:
    """Limits near the trials are lines; those far away are named at the edge and move no axis."""
    near = replace(STUDY, card=replace(CARD, limits={"drop": 0.04, "latency_s": 0.02}))
    far = replace(STUDY, card=replace(CARD, limits={"drop": 0.9, "latency_s": 5.0}))
    assert {"drop limit 0.04", "latency limit 20 ms"} <= set(legend(near))
    assert {"drop limit 0.9, at 0", "latency limit 5000 ms"} <= set(texts(far))
    seen, free = view_of(far), view_of(replace(STUDY, card=replace(CARD, limits={})))
    assert seen == free and seen is not None
    assert 1.3 < seen.latency_ms[0] < 2 and 100 < seen.latency_ms[1] < 150
    assert 0.65 < seen.quality[0] < 0.7 and 0.9 < seen.quality[1] < 0.95


def test_a_trial_that_lost_everything_does_not_stretch_the_axes() -> None:
    """Complete trials are always on the axes; one far away that broke a limit is counted at the edge."""
    lost = record(5, 0.008, 0.1)
    study = replace(STUDY, records=(*STUDY.records[:4], lost))
    seen = view_of(study)
    assert seen is not None and seen.quality[0] > 0.8
    assert "1 trial that broke a limit, down to 0.1" in texts(study)
    assert all(seen.holds(r.measured.latency_p25_s * 1e3, r.quality.value) for r in study.complete if r.quality)
    assert "breaks a limit" not in legend(study)


def test_intervals_and_ties_are_drawn() -> None:
    """Every member has a bar for its latency and one for what it lost over the patients; a band joins ties."""
    varied = scored(0.8801)
    cases = [
        replace(case, scores={"dice_macro": 0.8801 + more})
        for case, more in zip(varied.cases, (0.01, -0.01, 0), strict=True)
    ]
    members = [
        trial(0, 0.1, 0.9, origin="seed", label="torch f32"),
        trial(1, 0.02, 0.88),
        trial(2, 0.0201, 0.8801, quality=replace(varied, cases=tuple(cases))),
    ]
    study = StudyResult(CARD, tuple(members))
    assert study.ties == {1: 1, 2: 1, 0: 0}
    axes = draw(study).axes[0]
    bars = [line.get_xydata() for line in axes.lines]
    horizontal = [bar for bar in bars if len(bar) == 2 and bar[0][1] == bar[1][1]]
    for member in study.front:
        low, high = (1e3 * end for end in latency_interval(member.measured, study.sigma))
        assert any(np.allclose(bar[:, 0], [low, high]) for bar in horizontal)
    assert "tied: not told apart" in legend(study)
    assert "tied: not told apart" not in legend(STUDY)


def test_a_study_without_a_front_has_a_picture_too() -> None:
    """Failed trials alone, or none at all, are drawn as an empty picture."""
    for records in ((FAILED,), ()):
        assert front_picture(StudyResult(CARD, records)).startswith(b"\x89PNG")

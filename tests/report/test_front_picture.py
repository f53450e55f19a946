"""The front of a study as a picture."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np

from autoopt.report.front_picture import front_picture
from autoopt.study.result import StudyResult
from tests.deploy.studies import CARD, FAILED, STUDY


def test_the_picture_is_a_png() -> None:
    """A study with a front, references, an infeasible and a failed trial is a picture that is not blank."""
    from PIL import Image

    limited = replace(STUDY, card=replace(CARD, limits={"drop": 0.05, "latency_s": 0.02}))
    with Image.open(BytesIO(front_picture(limited))) as image:
        assert (image.format, image.width > 1000) == ("PNG", True)
        assert np.asarray(image.convert("L")).std() > 5


def test_a_study_without_a_front_has_a_picture_too() -> None:
    """Failed trials alone, or none at all, are drawn as an empty picture."""
    for records in ((FAILED,), ()):
        assert front_picture(StudyResult(CARD, records)).startswith(b"\x89PNG")

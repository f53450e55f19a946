"""The picture of a training study."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib")

from autoopt.report.training_picture import draw, training_picture
from tests.report.test_training_text import ROWS, row, study


def test_every_line_is_a_mark() -> None:
    """Each network and arm that was trained is a mark, larger where it held more memory; ringed if best."""
    axes = draw(study(ROWS)).axes[0]
    marks = [item for item in axes.collections if hasattr(item, "get_sizes") and len(item.get_offsets()) == 1]
    assert len(marks) == 3 and len(axes.texts) == 3
    areas = {round(float(item.get_offsets()[0][1]), 2): float(item.get_sizes()[0]) for item in marks}
    assert areas[0.70] < areas[0.85] == areas[0.86]
    ringed = {round(float(item.get_offsets()[0][1]), 2) for item in marks if len(item.get_edgecolors())}
    assert ringed == {0.70, 0.86}
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["FP32", "BF16 autocast", "half weights (bfloat16)"]


def test_it_is_a_png_of_any_study() -> None:
    """One row is drawn, and so is a study in which nothing could be trained."""
    for rows in ([row("fp32", 1, 10.0, 100, 0.8)], ROWS[-2:]):
        assert training_picture(study(rows)).startswith(b"\x89PNG")

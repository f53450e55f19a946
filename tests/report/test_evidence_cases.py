"""The worst cases as a value."""

from __future__ import annotations

import json

import pytest

from autoopt.report.evidence_cases import CaseRow, WorstCases
from autoopt.report.evidence_losses import Loss
from autoopt.report.evidence_pictures import Tile

TILES = [Tile("", b"picture"), Tile("malignant")]
FOUND = WorstCases(2, 0, "dice", (("gland", "#E69F00"),), (CaseRow.of(Loss("c", 0.9, 0.8, 0.1), "p", TILES),))


def test_worst_cases_survive_json() -> None:
    """JSON and back gives the same cases; only what is a picture has data."""
    assert WorstCases.from_json(json.loads(json.dumps(FOUND.to_json()))) == FOUND
    assert [bool(picture.data) for picture in FOUND.rows[0].pictures] == [True, False]


def test_a_picture_from_elsewhere_is_refused() -> None:
    """A kept picture that a browser would load from somewhere is no picture."""
    text = json.dumps(FOUND.to_json()).replace("data:image/webp;base64,", "https://example.org/")
    with pytest.raises(ValueError, match="must hold its data"):
        WorstCases.from_json(json.loads(text))

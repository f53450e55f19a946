"""The worst cases in a report."""

from __future__ import annotations

from autoopt.report.evidence_cases import WORST_CASES, CaseRow, WorstCases
from autoopt.report.evidence_losses import Loss
from autoopt.report.evidence_pictures import Tile
from autoopt.report.page import worst_cases
from autoopt.report.page.html import text_of
from autoopt.report.page.subject import Subject
from tests.report.page.planted import planted_study


def found(*tiles: Tile) -> WorstCases:
    row = CaseRow.of(Loss("<case>", 0.91, 0.87, 0.04), "pat", list(tiles))
    return WorstCases(10, 0, "dice", (("gland", "#E69F00"),), (row,))


def test_pictures_stand_in_a_row_with_words() -> None:
    """Each picture has a description, the row its case, patient and scores; the colours are explained."""
    shown = worst_cases.render(
        Subject(planted_study(), evidence={WORST_CASES: found(*[Tile("", b"x")] * 4, Tile("3 %", b"x"))})
    )
    assert shown.count('src="data:image/webp;base64,') == 5 and 'alt="&lt;case&gt;: difference 3 %"' in shown
    text = text_of(shown)
    assert "patient pat" in text and "dice 0.9100 \N{RIGHTWARDS ARROW} 0.8700" in text
    assert "gland" in text and "only the source model is right" in text and "in another way" not in text


def test_words_alone_need_no_colours() -> None:
    """A classification has answers in words beside its image, and no legend."""
    shown = worst_cases.render(
        Subject(planted_study(), evidence={WORST_CASES: found(Tile("", b"x"), *[Tile("malignant (0.80)")] * 4)})
    )
    assert shown.count("<img") == 1 and text_of(shown).count("malignant (0.80)") == 4 and "swatch" not in shown


def test_why_there_are_no_pictures_is_told() -> None:
    """A sentence in place of pictures is shown; of a report that looked for none nothing is."""
    assert "gone" in worst_cases.render(Subject(planted_study(), evidence={WORST_CASES: "gone"}))
    assert not worst_cases.render(Subject(planted_study()))

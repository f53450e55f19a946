"""An explanation as text."""

from __future__ import annotations

import re

from autoopt.report.explain_text import explain_text
from tests.report.profiles import CONVERTED, FLOAT, explain


def test_the_text_holds_sentences_totals_and_layers() -> None:
    """Sentences come first, then recorded and present latencies, shares, and the slowest layers, the rest as one."""
    found = explain(CONVERTED, FLOAT, recorded=(0.061, 0.041))
    lines = explain_text(found, layers=5)
    assert lines[1 : 1 + len(found.sentences)] == [f"- {sentence}" for sentence in found.sentences]
    text = "\n".join(lines)
    assert re.search(r"recorded p25 per call, ms │ +61 │ +41 │", text)
    assert re.search(r"a call now, ms +│ +60 │ +40 │", text)
    assert re.search(r"share of conversions +│ +53 % │ +0 % │", text)
    assert re.search(r"block_0.conv/Conv +│ Convolution +│ jit_i8 +│ INT8 +│ +5 │ +8 % │ +8 │ jit_f32", text)
    assert "INT8, conversion" in text
    assert "11 more" in text
    assert max(map(len, lines[1 + len(found.sentences) :])) <= 150


def test_the_text_of_a_trial_alone() -> None:
    """Without another trial there are no columns for one."""
    assert not any("#1" in line for line in explain_text(explain(FLOAT, None)))

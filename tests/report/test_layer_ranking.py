"""A ranking of layers as numbers and as a picture."""

from __future__ import annotations

from autoopt.compress.sensitivity import Rank, table
from autoopt.report.layer_ranking import LayerRanking, as_csv, ranking_picture

RANKS = (
    Rank("stem", ("stem/Conv",), 0.7, 0.001, 0.02),
    Rank("head", ("head/Conv", "head/Conv-2"), 0.2, 0.002, 0.02),
    Rank("body", ("body/Conv",), 0.1, 0.004, 0.02),
)


def test_a_ranking_is_shown_as_numbers_and_a_picture() -> None:
    """The CSV has a line per group with what all groups so far cost; the picture is a PNG."""
    lines = as_csv(RANKS).splitlines()
    assert lines[0].startswith("group,layers,noise_recovered")
    assert lines[2] == "head,2,0.200000,2.000000,3.000000" and len(lines) == 4
    assert ranking_picture(LayerRanking("tiny", RANKS)).startswith(b"\x89PNG")
    assert [row[0] for row in table(RANKS)] == ["stem", "head", "body"]

"""The colour and shape of each runtime."""

from __future__ import annotations

from dataclasses import replace

from autoopt.report.page.shapes import shapes
from tests.report.page.planted import planted_study


def test_each_runtime_has_a_shape_and_a_colour_of_its_own() -> None:
    """No two runtimes look alike, without colour either, and they are the same whatever trial came first."""
    study = planted_study(24)
    found = shapes(study)
    assert len(found) == 3
    assert all(len({look[place] for look in found.values()}) == len(found) for place in (0, 1))
    assert shapes(replace(study, records=study.records[::-1])) == found

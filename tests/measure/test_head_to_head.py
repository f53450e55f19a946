"""Several trials measured at the same time, with the fake runtime."""

from __future__ import annotations

import pytest

from autoopt.measure.head_to_head import measure_together
from autoopt.measure.reference_worker import ReferenceWorker
from tests.measure.setups import QUICK, Setup


def test_head_to_head(setup: Setup) -> None:
    """Several subjects take turns with each other and the reference, each in a process of its own."""
    subjects = [setup.fake(2.0), setup.fake(4.0)]
    with ReferenceWorker(setup.fake(2.0), setup.target, QUICK) as reference_worker:
        measured = measure_together(subjects, setup.target, plan=QUICK, reference_worker=reference_worker)
    assert [item.processes for item in measured] == [1, 1]
    assert measured[0].reference_s == measured[1].reference_s
    ratios = [item.relative.ratio for item in measured if item.relative is not None]
    assert ratios[1] / ratios[0] == pytest.approx(2.0, rel=0.3)

"""The time of a case is split into before, in and after the network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from autoopt.measure.case_stages import CaseStages, stages_of
from tests.inference.pipelines import BRAIN, logits_of


def test_each_stage_has_its_own_time() -> None:
    """All seconds of a case are in one of the stages, those of calls in the network's, mirrored calls counted."""
    now = 0.0

    def clock() -> float:
        nonlocal now
        now += 1.0
        return now

    def slow(tile: np.ndarray) -> np.ndarray:
        nonlocal now
        now += 100.0
        return logits_of(tile)

    image = np.random.default_rng(0).normal(size=(12, 9, 8))
    pipeline = replace(BRAIN, mirror=(0,))
    found = stages_of(pipeline, slow, image, np.diag([2.0, 2.0, 2.0, 1.0]), clock)
    assert found.calls == pipeline.cut(image, np.eye(4) * 2)[1].count > 2
    assert found.network_s == found.calls * 101.0
    assert found.prepare_s >= found.calls and found.finish_s > 0
    assert found.total_s == now - 1.0
    assert CaseStages.from_json(found.to_json()) == found

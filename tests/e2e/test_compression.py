"""A search that changes the network itself: rungs are made once, refusals are said, what comes out is deployed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import autoopt
from autoopt.core.records import Status, TrialRecord
from autoopt.errors import SpaceError
from autoopt.measure.host import current_host
from autoopt.study.space import load_space
from tests import tiny
from tests.e2e.quick import LEAST

SPACE = """
prune: {ratio: [null, 0.25, 0.5], rungs: "0.25", steps: 4, batch: 2}
factorize: {keep: [null, 1.0], by: ratio, steps: 0}
runtime: {name: onnxruntime, threads: 1, spinning: false}
"""


def ratio(record: TrialRecord) -> float:
    return float((record.configuration.section("prune") or {}).get("ratio") or 0)


def factored(record: TrialRecord) -> bool:
    return record.configuration.section("factorize") is not None


def test_networks_are_cut_recovered_measured_and_deployed(tmp_path: Path) -> None:
    """Each rung is made once and is smaller than the one below; a refused step is a failed trial with its reason; the
    smallest network is pulled and predicts without torch's code of it."""
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    (tmp_path / "space.yaml").write_text(SPACE)
    home = tmp_path / "home"
    result = autoopt.search(
        tiny.SOURCE,
        budget=12,
        space=tmp_path / "space.yaml",
        weights=tiny.weights(tmp_path / "w.safetensors"),
        home=home,
        max_drop=None,
        objectives=("size", "quality"),
        plan=LEAST,
    )
    assert {(ratio(record), factored(record)) for record in result.records} == {
        (share, twice) for share in (0.0, 0.25, 0.5) for twice in (False, True)
    }
    refused = [record for record in result.records if factored(record)]
    assert all(record.failure is not None and record.failure.cause == "unsupported" for record in refused)
    assert all("keep less" in record.failure.message for record in refused if record.failure is not None)

    whole = [record for record in result.records if not factored(record)]
    assert all(record.status is Status.COMPLETE for record in whole), result.records
    sizes = {ratio(record): result.study.headline(record)["size_mb"] for record in whole}
    assert sizes[0.5] < sizes[0.25] < sizes[0.0]
    quarter, half = (next(record for record in whole if ratio(record) == share) for share in (0.25, 0.5))
    assert quarter.artifacts[0] == half.artifacts[0]  # the rung below
    assert result.made["prune"] == 2

    folder, _ = autoopt.pull(tmp_path / "bundle", home=home, self_test=False, pick="smallest")
    with autoopt.load(folder) as predictor:
        image = tiny.workload().splits.val[0].read().image
        assert predictor.info["trial"] == half.number
        assert predictor.predict(image).shape == image.shape[:-1]
    replayed = autoopt.replay(half.number, home=home)
    assert replayed.after.quality is not None and half.quality is not None
    assert np.isclose(replayed.after.quality.value, half.quality.value)


def test_a_finished_graph_cannot_be_pruned(tmp_path: Path) -> None:
    """A space that changes the network is refused for an ONNX file, step by step, with the reason."""
    (tmp_path / "space.yaml").write_text(SPACE)
    finished = replace(tiny.workload(), build=None, graph=tmp_path / "net.onnx")
    with pytest.raises(SpaceError) as caught:
        load_space(tmp_path / "space.yaml", current_host(), finished)
    assert [problem.partition(": ")[2][:26] for problem in caught.value.problems] == [
        "prune: must be left out: t",
        "factorize: must be left ou",
    ]

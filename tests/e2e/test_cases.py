"""A search over whole cases: the tile of the network is one of the things that are searched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import autoopt
from autoopt.core.records import Status
from tests import tiny
from tests.e2e.quick import LEAST

SPACE = """
pipeline: {tile: [null, 24x24], overlap: 0.25}
runtime: {name: onnxruntime, threads: 1, spinning: false}
"""


def test_tiles_are_searched_measured_and_deployed(tmp_path: Path) -> None:
    """Every tile is exported, measured by the case and scored; a bundle cuts images as its trial did."""
    pytest.importorskip("onnxruntime")
    (tmp_path / "space.yaml").write_text(SPACE)
    weights = tiny.weights(tmp_path / "tiny.safetensors")
    result = autoopt.search(
        tiny.CASES_SOURCE,
        budget=5,
        space=tmp_path / "space.yaml",
        weights=weights,
        home=tmp_path / "home",
        max_drop=0.5,
        guards={"disagreement": 0.5, "worst_decile": 0.5},
        plan=LEAST,
    )
    assert [record.status for record in result.records] == [Status.COMPLETE] * 3, result.records
    tiles = [(record.configuration.section("pipeline") or {}).get("tile") for record in result.records]
    assert sorted(map(str, tiles)) == ["24x24", "None", "None"]
    scores = [record.quality.value for record in result.records if record.quality is not None]
    assert max(scores) - min(scores) < 0.02
    shares = [result.study.headline(record)["disagreement"] for record in result.records]
    assert shares[0] < 1e-3 and max(shares) < 0.05  # the first is the source model itself

    other = next(record for record in result.records if record.configuration.section("pipeline"))
    replayed = autoopt.replay(other.number, home=tmp_path / "home")
    assert replayed.after.quality is not None and replayed.after.quality.value == pytest.approx(scores[other.number])

    folder, _ = autoopt.pull(tmp_path / "bundle", home=tmp_path / "home", self_test=False, pick="fastest")
    with autoopt.load(folder) as predictor:
        image = tiny.workload().splits.val[1].read().image
        picked = result.study.by_number(predictor.info["trial"])
        assert picked is not None
        wanted = (picked.configuration.section("pipeline") or {"tile": "16x16"})["tile"]
        assert "x".join(map(str, predictor.pipeline.tile)) == wanted
        assert np.mean(predictor.predict(image) == (image[..., 0] > 0)) > 0.9


def test_what_the_graph_does_itself_is_searched(tmp_path: Path) -> None:
    """A graph that normalises, or decides as well, is made, measured and scored like the one that does neither."""
    pytest.importorskip("onnxruntime")
    (tmp_path / "space.yaml").write_text(
        "pipeline: {in_graph: [none, input, both]}\nruntime: {name: onnxruntime, threads: 1, spinning: false}\n"
    )
    result = autoopt.search(
        tiny.PIXELS_SOURCE,
        budget=6,
        space=tmp_path / "space.yaml",
        weights=tiny.weights(tmp_path / "w.safetensors"),
        home=tmp_path / "home",
        max_drop=0.5,
        plan=LEAST,
    )
    ways = {
        str((record.configuration.section("pipeline") or {}).get("in_graph", "none")): record
        for record in result.records
    }
    assert set(ways) == {"none", "input", "both"}
    assert all(record.status is Status.COMPLETE for record in ways.values()), result.records
    scores = [record.quality.value for record in ways.values() if record.quality is not None]
    assert max(scores) - min(scores) < 0.01
    assert len({record.artifacts[-1] for record in ways.values()}) == 3

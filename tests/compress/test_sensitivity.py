"""Which layers are worth keeping in float."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.compress import quantize
from autoopt.compress.maker import Maker
from autoopt.compress.sensitivity import MOST_GROUPS, Rank, grouped, kept
from autoopt.core.store import Store
from autoopt.errors import Unsupported
from autoopt.measure.host import current_host
from autoopt.workloads.loading import load_workload
from tests import tiny

NAMES = st.lists(
    st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=4).map(lambda parts: f"{'.'.join(parts)}/Conv"),
    min_size=1,
    max_size=60,
    unique=True,
)
RANKS = [
    Rank("stem", ("stem/Conv",), 0.7, 0.001, 0.02),
    Rank("head", ("head/Conv", "head/Conv-2"), 0.2, 0.002, 0.02),
    Rank("body", ("body/Conv",), 0.1, 0.004, 0.02),
]


@given(names=NAMES)
def test_every_layer_is_in_one_group(names: list[str]) -> None:
    """Groups hold every layer once, and there are never more of them than may be tried."""
    groups = grouped(names)
    assert sorted(name for layers in groups.values() for name in layers) == sorted(names)
    assert 1 <= len(groups) <= MOST_GROUPS


def test_groups_are_modules() -> None:
    """Layers of one module are one group, as deep as leaves a few groups."""
    names = [f"{block}.{conv}.conv/Conv" for block in ("down_0", "down_1", "up_0", "up_1", "last") for conv in "ab"]
    assert list(grouped(names)) == [
        f"{block}.{conv}" for block in ("down_0", "down_1", "up_0", "up_1", "last") for conv in "ab"
    ]
    many = [f"block.{number}.{layer}/MatMul" for number in range(12) for layer in ("q", "k", "v")]
    assert list(grouped(many)) == [f"block.{number}" for number in range(12)]


def test_something_must_be_left_to_quantize() -> None:
    """The selectors of the first groups, and a refusal where none would be left."""
    assert kept(RANKS, 2) == "name:stem/Conv,name:head/Conv,name:head/Conv-2"
    with pytest.raises(Unsupported, match="there are 3, got 3"):
        kept(RANKS, 3)


def test_no_setting_is_as_before() -> None:
    """Without groups in float a configuration has the name that it had before there was such a setting."""
    settings = quantize.canonical({"scheme": "int8", "keep_float": 0}, {"name": "openvino"}, current_host())
    assert settings is not None and "keep_float" not in settings
    settings = quantize.canonical({"scheme": "int8", "keep_float": 2}, {"name": "openvino"}, current_host())
    assert settings is not None and settings["keep_float"] == 2


def test_a_ranking_is_made_once_and_decides_what_stays_in_float(tmp_path: Path) -> None:
    """Each group alone recovers a part of the noise; the first of them stays in float in either format, and the
    ranking is kept."""
    pytest.importorskip("openvino")
    workload = load_workload(tiny.SOURCE, None, tmp_path)
    settings = {"scheme": "int8", "tool": "nncf", "weight_bits": 8, "calibration_cases": 3}
    with Maker(workload, tiny.weights(tmp_path / "w.safetensors"), Store(tmp_path / "store"), current_host()) as maker:
        ranks = maker.ranking(maker.export("openvino"), 8)
        assert {layer for item in ranks for layer in item.layers} == {"stem/Conv", "head/Conv"}
        assert all(-0.5 < item.recovered <= 1.0 and item.call_s > 0 for item in ranks)
        assert sum(item.recovered for item in ranks) > 0.5
        assert [item.worth for item in ranks] == sorted((item.worth for item in ranks), reverse=True)
        assert maker.ranking(maker.export("openvino"), 8) == ranks
        assert maker.made["sensitivity"] == 1
        for kind in ("openvino", "onnx"):
            source = maker.export(kind)
            plain, mixed = (maker.step("quantize", {**settings, "keep_float": count}, source) for count in (0, 1))
            assert plain.report["quantized_layers"] == 2 and mixed.report["quantized_layers"] == 1
            assert mixed.report["ignored"] and mixed.report["sqnr_db"] > plain.report["sqnr_db"]


def test_the_enlargement_of_a_coarse_answer_is_no_layer(tmp_path: Path) -> None:
    """No group of a ranking has it and it stays in float; the ranking that was made on one format serves the other."""
    pytest.importorskip("openvino")
    workload = load_workload(tiny.SOURCE, None, tmp_path)
    settings = {"scheme": "int8", "weight_bits": 8, "calibration_cases": 3, "keep_float": 1}
    with Maker(workload, tiny.weights(tmp_path / "w.safetensors"), Store(tmp_path / "store"), current_host()) as maker:
        coarse = maker.net("resolution", {"factor": 2, "steps": 0, "batch": 2}, None)
        for kind, tool in (("onnx", "onnxruntime"), ("onnx", "nncf"), ("openvino", "nncf")):
            source = maker.export(kind, net=coarse)
            ranks = maker.ranking(source, 8)
            assert {layer for item in ranks for layer in item.layers} == {"stem/Conv", "head/Conv"}
            report = maker.step("quantize", {**settings, "tool": tool}, source).report
            assert (report["quantized_layers"], report["layers"]) == (1, 2)
            products = [name for name in report["ignored"] if not name.startswith(("stem", "head"))]
            assert len(products) == 2  # one along each axis

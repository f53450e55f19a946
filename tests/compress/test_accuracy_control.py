"""Layers that go back to float until a hold-out loses little enough."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoopt.compress import quantize
from autoopt.compress.accuracy_control import held_out, score, validation
from autoopt.core.configuration import Scalar
from autoopt.core.store import Artifact, Store
from autoopt.inference.formats import caller
from autoopt.measure.host import current_host
from autoopt.workloads.contract import IGNORED
from tests import tiny


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """The tiny net with a channel that is four thousand times as large as the others and means nothing: its scale is
    everyone's, and all others round to zero."""
    for library in ("torch", "onnx", "onnxruntime", "openvino", "nncf"):
        pytest.importorskip(library)
    import torch
    from safetensors.torch import load_file, save_file

    from autoopt.compress.export import export, load_source

    root = tmp_path_factory.mktemp("fragile")
    workload, path = tiny.workload(), tiny.weights(root / "w.safetensors")
    state = load_file(path)
    state["norm.weight"][2] = 4000.0
    state["head.weight"][:, 2] = 1e-4 * torch.tensor([1.0, -1.0])[:, None, None]
    save_file(state, path)
    store, source = Store(root / "store"), load_source(workload, path)
    made: dict[str, Artifact] = {}
    for name in ("onnx", "openvino"):
        parent = made["onnx"].path if name == "openvino" else None
        build = partial(export, name, "f32", workload, path, source=source, parent=parent)
        made[name] = store.put("model", name, {}, build)
    return made


@pytest.mark.parametrize(("graph_format", "runtime"), [("openvino", "openvino"), ("onnx", "onnxruntime")])
def test_what_integers_ruin_goes_back_to_float(
    graph_format: str, runtime: str, fragile: dict[str, Artifact], tmp_path: Path
) -> None:
    """Whole in integers the net is useless; controlled it loses no more than asked, and is still partly in integers."""
    workload = tiny.workload()
    held = held_out(workload)

    def scored(folder: Path) -> float:
        call = caller(folder)
        return float(np.mean([score(call(tile), reference, multilabel=False) for tile, reference in held]))

    found, reports = {}, {}
    for drop in (None, 0.02):
        wanted: dict[str, Scalar] = {"scheme": "int8", "calibration_cases": 3, "accuracy_drop": drop}
        settings = quantize.canonical(wanted, {"name": runtime}, current_host())
        assert settings is not None and ("accuracy_drop" in settings) == (drop is not None)
        folder = tmp_path / str(drop)
        folder.mkdir()
        reports[drop] = quantize.apply(settings, fragile[graph_format], workload, folder)
        found[drop] = scored(folder)
    whole = scored(fragile[graph_format].path)
    assert found[None] < whole - 0.3 and found[0.02] >= whole - 0.02
    assert 0 < reports[0.02]["quantized_layers"] < reports[None]["quantized_layers"]


def test_the_hold_out_is_training_data() -> None:
    """What decides is never what scores: whole patients of train, none of calibration, val or test."""
    workload = tiny.workload()
    tiles = {tile.tobytes() for tile, _ in held_out(workload)}
    assert tiles
    for split in ("calibration", "val", "test"):
        others = [workload.pipeline.prepare(case.read().image)[0] for case in workload.splits[split]]  # type: ignore[index]
        assert not tiles & {cut[place : place + 1].tobytes() for cut in others for place in range(len(cut))}


@given(seed=st.integers(0, 200), classes=st.integers(2, 4))
def test_scores_run_from_the_worst_to_the_right_answer(seed: int, classes: int) -> None:
    """The right answer scores 1, a wrong one everywhere 0, and what nobody knows counts nowhere."""
    rng = np.random.default_rng(seed)
    reference = rng.integers(0, classes, size=(5, 6))
    right = 9.0 * (np.arange(classes)[:, None, None] == reference)[None]
    assert score(right, reference, multilabel=False) == 1.0
    assert score(np.roll(right, 1, axis=1), reference, multilabel=False) == 0.0
    unknown = np.where(rng.random((5, 6)) < 0.3, IGNORED, reference)
    spoilt = np.where(unknown == IGNORED, np.roll(right, 1, axis=1), right)
    assert score(spoilt, unknown, multilabel=False) == 1.0
    multilabel = np.moveaxis(right[0] > 0, 0, -1).astype(int)
    assert score(right - 4, multilabel, multilabel=True) == 1.0
    assert score(4 - right, multilabel, multilabel=True) == 0.0
    label = np.asarray(int(reference[0, 0]))
    assert score(right[:, :, 0, 0], label, multilabel=False) > 0.9 > score(-right[:, :, 0, 0], label, multilabel=False)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_probabilities_are_judged_as_their_logits(activation: str) -> None:
    """A graph with softmax or sigmoid at its end has the scores that it has without."""
    random = np.random.default_rng(0)
    logits = random.normal(scale=2, size=(1, 2, 4, 4)).astype(np.float32)
    values = np.exp(logits)
    probabilities = values / (1 + values if activation == "sigmoid" else values.sum(axis=1, keepdims=True))
    shape = (4, 4, 2) if activation == "sigmoid" else (4, 4)
    items, plain = [(logits, random.integers(0, 2, shape))], replace(tiny.PIPELINE, activation=activation)
    scores = [
        validation(pipeline)(lambda tile, given=given: [given], items)[0]
        for pipeline, given in ((plain, logits), (replace(plain, output="probabilities"), probabilities))
    ]
    assert scores[0] == pytest.approx(scores[1])

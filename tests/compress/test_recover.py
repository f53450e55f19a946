"""The step that only trains again."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from autoopt.compress import recover  # noqa: E402
from autoopt.measure.host import current_host  # noqa: E402
from autoopt.nets.files import read_net  # noqa: E402
from tests import tiny  # noqa: E402


@pytest.mark.parametrize("qat", [False, True])
def test_the_network_learns_from_the_whole_one(qat: bool, tmp_path: Path) -> None:
    """A damaged network is nearer to its teacher on the hold-out after it, with fake quantization too."""
    workload = tiny.workload()
    whole = read_net(workload, tiny.weights(tmp_path / "w.safetensors"))
    damaged = copy.deepcopy(whole)
    with torch.no_grad():
        damaged.get_submodule("head").weight.mul_(0.1)
    asked = {"steps": 40, "batch": 4, "learning_rate": 2e-2, "qat": qat, "training_precision": "f32"}
    settings = recover.canonical(asked, {"name": "openvino"}, current_host())
    assert settings is not None
    (part,) = recover.parts(settings)
    changed = recover.change(part, damaged, whole, workload)
    report = changed.report["recovery"]
    assert changed.model is damaged and report["steps"] == 40
    assert report["loss_after"] < report["loss_before"]
    assert recover.left(part) == 1.0 and recover.parts({}) == []

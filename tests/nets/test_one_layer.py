"""The least network for a task, and how it is stored."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autoopt.errors import WeightsError
from autoopt.nets import one_layer
from autoopt.nets.files import STRUCTURE, read_net, write_net
from autoopt.workloads.contract import Workload
from tests import tiny

torch = pytest.importorskip("torch")


def of_shape(task: str, tile: tuple[int, ...]) -> Workload:
    """The small workload with another task and tile."""
    small = tiny.workload()
    activation = "identity" if task == "regression" else small.pipeline.activation
    pipeline = replace(small.pipeline, task=task, tile=tile, activation=activation, fit="resize")
    return replace(small, task=task, pipeline=pipeline)


@pytest.mark.parametrize("task", ["segmentation", "classification", "regression"])
@pytest.mark.parametrize("tile", [(50,), (16, 16), (9, 20), (8, 12, 16), (4, 4)], ids=str)
def test_it_has_the_in_and_output_of_the_network(task: str, tile: tuple[int, ...]) -> None:
    """One layer with weights takes the tiles of a workload and answers in the shape of its network."""
    workload = of_shape(task, tile)
    model = one_layer.build(workload)
    assert sum(bool(list(layer.parameters(recurse=False))) for layer in model.modules()) == 1
    answer = model(torch.zeros(workload.pipeline.input_shape))
    assert tuple(answer.shape) == tuple(workload.pipeline.output_shape)


def test_it_comes_back_from_its_files(tmp_path: Path) -> None:
    """A stored layer is read as what it is, without the workload's own network; an unknown network is refused."""
    workload = tiny.workload()
    model = one_layer.build(workload).eval()
    write_net(model, tmp_path)
    found = read_net(workload, tmp_path / "no weights", tmp_path)
    image = torch.rand(workload.pipeline.input_shape)
    assert one_layer.is_one_layer(found) and torch.equal(found(image), model(image))
    structure = json.loads((tmp_path / STRUCTURE).read_text())
    (tmp_path / STRUCTURE).write_text(json.dumps({**structure, "network": "two-layers"}))
    with pytest.raises(WeightsError, match="names a network that this version does not know: 'two-layers'"):
        read_net(workload, tmp_path / "no weights", tmp_path)

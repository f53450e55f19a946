"""Changed networks in folders."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from autoopt.errors import WeightsError, WorkloadError  # noqa: E402
from autoopt.nets import low_rank, resolution  # noqa: E402
from autoopt.nets.files import STRUCTURE, read_net, size_of, write_net  # noqa: E402
from tests import tiny  # noqa: E402


@pytest.fixture
def model(tmp_path: Path) -> torch.nn.Module:
    return read_net(tiny.workload(), tiny.weights(tmp_path / "w.safetensors"))


def test_a_stored_network_keeps_its_resolution(model: torch.nn.Module, tmp_path: Path) -> None:
    """Written and read again it has the same factor and the same answers; the factor of a whole network is 1."""
    batch = torch.randn(1, 3, 16, 16)
    assert resolution.factor_of(model) == 1
    resolution.reduce_resolution(model, 4, tile=(16, 16))
    write_net(model, tmp_path)
    again = read_net(tiny.workload(), tmp_path / "w.safetensors", tmp_path)
    assert resolution.factor_of(again) == 4
    torch.testing.assert_close(again(batch), model(batch))


def test_a_stored_network_of_another_workload_is_refused(model: torch.nn.Module, tmp_path: Path) -> None:
    """Layers in factors that this network does not have are named, instead of ending in an error of PyTorch."""
    write_net(model, tmp_path)
    text = (tmp_path / STRUCTURE).read_text().replace('"factored": {}', '"factored": {"body.conv": {}}')
    (tmp_path / STRUCTURE).write_text(text)
    with pytest.raises(WeightsError, match=r"body\.conv is not in it"):
        read_net(tiny.workload(), tmp_path / "w.safetensors", tmp_path)


def test_a_network_in_factors_is_stored_and_read_back(model: torch.nn.Module, tmp_path: Path) -> None:
    """The file says which layers are in factors; the network that is read answers the same, also after a cut."""
    changed = copy.deepcopy(model)
    low_rank.put(
        changed, "stem", low_rank.factored(changed.get_submodule("stem"), {"method": "tucker", "ranks": [2, 3]})
    )
    (tmp_path / "net").mkdir()
    write_net(changed, tmp_path / "net")
    again = read_net(tiny.workload(), tmp_path / "w.safetensors", tmp_path / "net")
    batch = torch.from_numpy(np.random.default_rng(0).normal(size=tiny.workload().pipeline.input_shape)).float()
    with torch.no_grad():
        assert torch.equal(again(batch), changed(batch))
        assert not torch.allclose(again(batch), model(batch))
    assert low_rank.specs(again) == {"stem": {"method": "tucker", "ranks": [2, 3]}}


def test_the_size_of_a_network_is_counted(model: torch.nn.Module) -> None:
    """Every weight counts once, and of a call the products of convolutions: 16 x 16 pixels of 3 x 9 x 8 and 8 x 2."""
    size = size_of(model, torch.zeros(1, 3, 16, 16))
    assert size.parameters == sum(item.numel() for item in model.parameters())
    assert size.macs == 16 * 16 * (3 * 9 * 8 + 8 * 2)


def test_a_finished_graph_has_no_network(tmp_path: Path) -> None:
    """A workload that is an ONNX file is refused: there is nothing to change."""
    with pytest.raises(WorkloadError, match="there is no network to change"):
        read_net(replace(tiny.workload(), build=None), tmp_path / "w.safetensors")

"""Bounds of what layers are given: a part of the network, wherever it goes."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from autoopt.errors import WeightsError  # noqa: E402
from autoopt.nets import clipping  # noqa: E402
from autoopt.nets.files import read_net, write_net  # noqa: E402
from tests import tiny  # noqa: E402


def test_bounds_go_with_the_network(tmp_path: Path) -> None:
    """A copy and a stored network cut off at the same bounds, new bounds take the place of old ones."""
    model = read_net(tiny.workload(), tiny.weights(tmp_path / "w.safetensors"))
    batch = 3 * torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    whole = model(batch)
    clipping.put(model, {"stem": (-9.0, 9.0), "head": (0.0, 0.5)})
    clipping.put(model, {"stem": (-1.0, 1.0)})
    cut = model(batch)
    assert clipping.specs(model) == {"stem": [-1.0, 1.0], "head": [0.0, 0.5]}
    assert torch.equal(copy.deepcopy(model)(batch), cut) and not torch.equal(cut, whole)
    assert torch.equal(model(9 * batch.sign()), model(batch.sign()))
    write_net(model, tmp_path)
    assert torch.equal(read_net(tiny.workload(), tmp_path / "w.safetensors", tmp_path)(batch), cut)


def test_bounds_of_another_network_are_refused(tmp_path: Path) -> None:
    """A stored network whose bounds are those of layers that the workload lacks is refused in a sentence."""
    model = read_net(tiny.workload(), tiny.weights(tmp_path / "w.safetensors"))
    clipping.put(model, {"stem": (-1.0, 1.0)})
    write_net(model, tmp_path)
    file = tmp_path / "structure.json"
    file.write_text(file.read_text().replace('"stem": [\n', '"root": [\n'))
    with pytest.raises(WeightsError, match="bounds do not fit"):
        read_net(tiny.workload(), tmp_path / "w.safetensors", tmp_path)

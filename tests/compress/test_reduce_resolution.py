"""The step that lets a network compute at a reduced resolution."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from autoopt.compress import reduce_resolution  # noqa: E402
from autoopt.errors import Unsupported  # noqa: E402
from autoopt.measure.host import current_host  # noqa: E402
from autoopt.nets.files import read_net, write_net  # noqa: E402
from autoopt.workloads.loading import load_workload  # noqa: E402
from autoopt.workloads.networks import families  # noqa: E402


def test_a_vision_transformer_keeps_its_positions(tmp_path: Path) -> None:
    """Each token of the reduced network has the mean position of the four that it stands for, also when read again."""
    workload = load_workload(families.SOURCE, None, tmp_path, {"net": "ViT"})
    assert workload.build is not None
    model = workload.build().eval().requires_grad_(False)
    (name, table), *others = [
        (name, item.clone()) for name, item in model.named_parameters() if "position_embeddings" in name
    ]
    grid = [size // 16 for size in workload.pipeline.tile]
    assert not others and table.shape[1] == grid[0] * grid[1]
    settings = reduce_resolution.canonical({"factor": 2, "steps": 0}, {"name": "torch"}, current_host())
    assert settings is not None
    changed = reduce_resolution.change(settings, model, copy.deepcopy(model), workload)
    blocks = table.reshape(grid[0] // 2, 2, grid[1] // 2, 2, -1).mean(dim=(1, 3)).reshape(1, -1, table.shape[2])
    torch.testing.assert_close(changed.model.get_parameter(name), blocks)
    assert changed.report["tables"] == [name]

    write_net(changed.model, tmp_path)
    again = read_net(workload, tmp_path / "w.safetensors", tmp_path)
    batch = torch.randn(workload.pipeline.input_shape)
    torch.testing.assert_close(again(batch), changed.model(batch))


def test_a_network_that_cannot_take_smaller_tiles_is_refused(tmp_path: Path) -> None:
    """The reason has the size of the tile and what the network says of it."""
    workload = load_workload(families.SOURCE, None, tmp_path, {"net": "UNETR 3D"})
    assert workload.build is not None
    model = workload.build().eval().requires_grad_(False)
    settings = reduce_resolution.canonical({"factor": 2, "steps": 0}, {"name": "torch"}, current_host())
    assert settings is not None
    with pytest.raises(Unsupported, match=r"tiles of \[16, 16, 16\], it refuses: "):
        reduce_resolution.change(settings, model, model, workload)

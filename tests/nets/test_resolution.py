"""Networks that see less of an image."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from autoopt.compress import reduce_resolution  # noqa: E402
from autoopt.errors import Unsupported, WeightsError  # noqa: E402
from autoopt.measure.host import current_host  # noqa: E402
from autoopt.nets import resolution  # noqa: E402
from autoopt.nets.files import STRUCTURE, read_net, write_net  # noqa: E402
from autoopt.workloads.loading import load_workload  # noqa: E402
from autoopt.workloads.networks import families  # noqa: E402
from tests import tiny  # noqa: E402


@pytest.fixture
def model(tmp_path: Path) -> torch.nn.Module:
    return read_net(tiny.workload(), tiny.weights(tmp_path / "w.safetensors"))


def test_a_coarse_network_answers_for_blocks(model: torch.nn.Module) -> None:
    """It is the network on the means of blocks, its answer enlarged; on an image of even blocks nothing is lost."""
    small = torch.randn(2, 3, 8, 8)
    wanted = model(small)
    names = list(model.state_dict())
    resolution.coarsen(model, 2, tile=(16, 16))
    answer = model(small.repeat_interleave(2, 2).repeat_interleave(2, 3))
    assert answer.shape == (2, 2, 16, 16) and list(model.state_dict()) == names
    torch.testing.assert_close(
        answer, torch.nn.functional.interpolate(wanted, scale_factor=2, mode="bilinear", align_corners=False)
    )


class Same(torch.nn.Module):
    """A network that answers with what it is asked."""

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return batch


@pytest.mark.parametrize("tile", [(12,), (12, 20), (8, 12, 20)])
def test_an_answer_is_enlarged_by_linear_interpolation(tile: tuple[int, ...]) -> None:
    """Along each axis, for images of one, two and three, whether or not they have the size of the tile."""
    mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[len(tile)]
    net = Same()
    resolution.coarsen(net, 4, tile)
    for sizes in (tile, (16,) * len(tile)):
        small = torch.randn(2, 3, *(size // 4 for size in sizes))
        image = small
        for axis in range(len(tile)):
            image = image.repeat_interleave(4, 2 + axis)
        wanted = torch.nn.functional.interpolate(small, scale_factor=4, mode=mode, align_corners=False)
        torch.testing.assert_close(net(image), wanted)


def test_an_answer_that_is_no_image_is_not_enlarged() -> None:
    """A network that answers with a number for each class answers so when it is coarse."""
    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    image = torch.randn(2, 3, 8, 8)
    wanted = net(image)
    resolution.coarsen(net, 2, ())
    torch.testing.assert_close(net(image), wanted)


def test_a_stored_network_is_as_coarse_as_it_was(model: torch.nn.Module, tmp_path: Path) -> None:
    """Written and read again it has the same factor and the same answers; one that is not coarse has none."""
    batch = torch.randn(1, 3, 16, 16)
    assert resolution.factor_of(model) == 1
    resolution.coarsen(model, 4, tile=(16, 16))
    write_net(model, tmp_path)
    again = read_net(tiny.workload(), tmp_path / "w.safetensors", tmp_path)
    assert resolution.factor_of(again) == 4
    torch.testing.assert_close(again(batch), model(batch))


def test_a_vision_transformer_keeps_its_positions(tmp_path: Path) -> None:
    """Each token of the coarse network has the mean position of the four that it stands for, also when read again."""
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


def test_only_tables_of_positions_shrink() -> None:
    """Other weights with three axes, and grids that the factor does not divide, stay as they are."""
    model = torch.nn.Module()
    for name, shape in {"token": (1, 1, 8), "table": (1, 24, 8), "odd": (1, 6, 8), "weight": (8, 24, 3)}.items():
        model.register_parameter(name, torch.nn.Parameter(torch.randn(shape)))
    assert resolution.shrink_tables(model, (16, 24), 2) == ["table"]
    assert {name: tuple(item.shape) for name, item in model.named_parameters()} == {
        "token": (1, 1, 8),
        "table": (1, 6, 8),
        "odd": (1, 6, 8),
        "weight": (8, 24, 3),
    }


def test_a_network_that_cannot_take_smaller_tiles_is_refused(tmp_path: Path) -> None:
    """The reason has the size of the tile and what the network says of it."""
    workload = load_workload(families.SOURCE, None, tmp_path, {"net": "UNETR 3D"})
    assert workload.build is not None
    model = workload.build().eval().requires_grad_(False)
    settings = reduce_resolution.canonical({"factor": 2, "steps": 0}, {"name": "torch"}, current_host())
    assert settings is not None
    with pytest.raises(Unsupported, match=r"tiles of \[16, 16, 16\], it refuses: "):
        reduce_resolution.change(settings, model, model, workload)


def test_a_stored_network_of_another_workload_is_refused(model: torch.nn.Module, tmp_path: Path) -> None:
    """Layers in factors that this network does not have are named, instead of ending in an error of PyTorch."""
    write_net(model, tmp_path)
    text = (tmp_path / STRUCTURE).read_text().replace('"factored": {}', '"factored": {"body.conv": {}}')
    (tmp_path / STRUCTURE).write_text(text)
    with pytest.raises(WeightsError, match=r"body\.conv is not in it"):
        read_net(tiny.workload(), tmp_path / "w.safetensors", tmp_path)

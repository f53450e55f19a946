"""Networks that compute at a reduced resolution."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from autoopt.nets import resolution  # noqa: E402
from autoopt.nets.files import read_net  # noqa: E402
from tests import tiny  # noqa: E402


@pytest.fixture
def model(tmp_path: Path) -> torch.nn.Module:
    return read_net(tiny.workload(), tiny.weights(tmp_path / "w.safetensors"))


def test_a_reduced_network_answers_for_blocks(model: torch.nn.Module) -> None:
    """It is the network on the means of blocks, its answer enlarged; on an image of even blocks nothing is lost."""
    small = torch.randn(2, 3, 8, 8)
    wanted = model(small)
    names = list(model.state_dict())
    resolution.reduce_resolution(model, 2, tile=(16, 16))
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
    resolution.reduce_resolution(net, 4, tile)
    for sizes in (tile, (16,) * len(tile)):
        small = torch.randn(2, 3, *(size // 4 for size in sizes))
        image = small
        for axis in range(len(tile)):
            image = image.repeat_interleave(4, 2 + axis)
        wanted = torch.nn.functional.interpolate(small, scale_factor=4, mode=mode, align_corners=False)
        torch.testing.assert_close(net(image), wanted)


def test_an_answer_that_is_no_image_is_not_enlarged() -> None:
    """A network that answers with a number for each class answers so at a reduced resolution."""
    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    image = torch.randn(2, 3, 8, 8)
    wanted = net(image)
    resolution.reduce_resolution(net, 2, ())
    torch.testing.assert_close(net(image), wanted)


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

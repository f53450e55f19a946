"""What the recovery of a network learns from: windows of pictures, whole tiles of everything else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from autoopt.nets.resolution import reduce_resolution  # noqa: E402
from autoopt.nets.windows import window_of  # noqa: E402
from autoopt.workloads.contract import Workload  # noqa: E402
from tests import tiny  # noqa: E402


def of_tile(*tile: int, **changes: Any) -> Workload:
    small = tiny.workload()
    return replace(small, pipeline=replace(small.pipeline, tile=tile), **changes)


def plain(axes: int = 2) -> torch.nn.Module:
    return getattr(torch.nn, f"Conv{axes}d")(tiny.CHANNELS, 2, 3, padding=1).eval()


@pytest.mark.parametrize(
    ("tile", "window"),
    [((224, 224), (128, 128)), ((512, 96), (256, 64)), ((64, 64), (64, 64)), ((65, 32), (64, 32))],
    ids=str,
)
def test_pictures_are_learnt_from_windows(tile: tuple[int, ...], window: tuple[int, ...]) -> None:
    """A window has half the size of a tile, as a multiple of 64, and is never larger than the tile."""
    assert window_of([plain()], of_tile(*tile)) == window


def test_volumes_and_classes_are_learnt_from_whole_tiles() -> None:
    """Where an organ lies, and what a whole picture shows, a window does not tell."""
    assert window_of([plain(3)], of_tile(128, 128, 128)) == (128, 128, 128)
    assert window_of([plain()], of_tile(224, 224, task="classification")) == (224, 224)


class OnlyWhole(torch.nn.Module):
    """A network that takes one size, as one with a table of positions does."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.layer, self.table = plain(), torch.nn.Parameter(torch.zeros(size, size))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.layer(batch) + self.table  # type: ignore[no-any-return]


def test_a_reduced_resolution_is_learnt_from_whole_tiles() -> None:
    """A network that sees blocks of pixels learns from as many of them as there are."""
    coarse = plain()
    reduce_resolution(coarse, 2, (224, 224))
    assert window_of([plain(), coarse], of_tile(224, 224)) == (224, 224)


def test_a_network_of_one_size_is_trained_on_that() -> None:
    """Where one of the networks refuses windows, both learn from whole tiles."""
    assert window_of([plain(), OnlyWhole(224)], of_tile(224, 224)) == (224, 224)

"""The training tiles that a teacher answers once."""

from __future__ import annotations

import copy
import gc
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from autoopt.nets import teacher_cache  # noqa: E402
from autoopt.nets.files import read_net  # noqa: E402
from autoopt.workloads.loading import load_workload  # noqa: E402
from autoopt.workloads.networks import families  # noqa: E402
from tests import tiny  # noqa: E402


@pytest.fixture
def teacher(tmp_path: Path) -> torch.nn.Module:
    return read_net(tiny.workload(), tiny.weights(tmp_path / "w.safetensors"))


def test_a_number_is_the_same_view_whenever_it_is_drawn(teacher: torch.nn.Module) -> None:
    """What a rung learns from does not depend on which rungs were made before it in the same process."""
    workload = tiny.workload()
    one, other = (teacher_cache.Views(teacher, workload.splits.train, workload, bf16=False) for _ in range(2))
    one.batch([5, 3, 1])
    for mine, theirs in zip(one.batch([1, 2, 3]), other.batch([1, 2, 3]), strict=True):
        assert torch.equal(mine, theirs)
    images, references, wanted = one.batch([1, 2])
    assert images.shape == (2, 3, *tiny.TILE) and references.shape == (2, *tiny.TILE)
    torch.testing.assert_close(wanted, teacher(images), atol=5e-3, rtol=5e-3)


def test_the_teacher_is_asked_once_for_each_view(teacher: torch.nn.Module) -> None:
    """A view that was drawn is not answered again, however often it is looked at."""
    workload, asked = tiny.workload(), []
    teacher.register_forward_hook(lambda *given: asked.append(1))
    kept = teacher_cache.views_of(teacher, workload.splits.train, workload, False)
    kept.batch([0, 1, 1, 2])
    teacher_cache.views_of(teacher, workload.splits.train, workload, False).batch([2, 1, 0])
    assert len(asked) == 3


def test_views_live_as_long_as_their_teacher(teacher: torch.nn.Module) -> None:
    """Another network with other answers has views of its own, and nothing holds those of one that is gone."""
    workload, other = tiny.workload(), copy.deepcopy(teacher)
    before = len(teacher_cache._KEPT)
    teacher_cache.views_of(other, workload.splits.train, workload, False).batch([0])
    assert len(teacher_cache._KEPT) == before + 1
    del other
    gc.collect()
    assert len(teacher_cache._KEPT) == before


def test_large_tiles_have_fewer_views(teacher: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    """No more views than the bytes that may be kept."""
    workload = tiny.workload()
    first = teacher_cache.Views(teacher, workload.splits.train, workload, False)._view(0)
    one = sum(item.numel() * item.element_size() for item in first)
    monkeypatch.setattr(teacher_cache, "KEPT_BYTES", 10 * one + 1)
    assert len(teacher_cache.Views(teacher, workload.splits.train, workload, False)) == 10


def test_an_image_has_one_class(tmp_path: Path) -> None:
    """References of a classification are a number an image, as its loss takes them."""
    workload = load_workload(families.SOURCE, None, tmp_path, {"net": "ResNet"})
    assert workload.build is not None
    teacher = workload.build().eval()
    kept = teacher_cache.Views(teacher, workload.splits.train, workload, False)
    images, references, wanted = kept.batch([0, 1, 2])
    assert images.shape == (3, *families.PLANE) and references.shape == (3,) and wanted.shape == (3, 2)

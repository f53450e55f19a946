"""The training tiles that a teacher answers once."""

from __future__ import annotations

import copy
import gc
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from autoopt.nets import teacher_cache  # noqa: E402
from autoopt.nets.files import read_net  # noqa: E402
from autoopt.nets.teacher_cache import TeacherCache, cache_of  # noqa: E402
from autoopt.workloads.loading import load_workload  # noqa: E402
from autoopt.workloads.networks import families  # noqa: E402
from tests import tiny  # noqa: E402


@pytest.fixture
def teacher(tmp_path: Path) -> torch.nn.Module:
    return read_net(tiny.workload(), tiny.weights(tmp_path / "w.safetensors"))


def test_a_number_is_the_same_tile_whenever_it_is_drawn(teacher: torch.nn.Module) -> None:
    """What a rung learns from does not depend on which rungs were made before it in the same process."""
    workload = tiny.workload()
    one, other = (TeacherCache(teacher, workload.splits.train, workload, bf16=False) for _ in range(2))
    one.batch([5, 3, 1])
    mine, theirs = one.batch([1, 2, 3]), other.batch([1, 2, 3])
    assert torch.equal(mine.images, theirs.images) and torch.equal(mine.references, theirs.references)
    assert mine.taught is not None and theirs.taught is not None and torch.equal(mine.taught, theirs.taught)
    found = one.batch([1, 2])
    assert found.images.shape == (2, 3, *tiny.TILE) and found.references.shape == (2, *tiny.TILE)
    torch.testing.assert_close(found.taught, teacher(found.images), atol=5e-3, rtol=5e-3)


def test_the_teacher_is_asked_once_for_each_tile(teacher: torch.nn.Module) -> None:
    """A tile that was drawn is not answered again, however often it is learnt from."""
    workload, asked = tiny.workload(), []
    teacher.register_forward_hook(lambda *given: asked.append(1))
    cache_of(teacher, workload.splits.train, workload, False, tiny.TILE).batch([0, 1, 1, 2])
    cache_of(teacher, workload.splits.train, workload, False, tiny.TILE).batch([2, 1, 0])
    assert len(asked) == 3


def test_a_cache_lives_as_long_as_its_teacher(teacher: torch.nn.Module) -> None:
    """Another network with other answers has a cache of its own, and nothing holds that of one that is gone."""
    workload, other = tiny.workload(), copy.deepcopy(teacher)
    gc.collect()  # what tests before this one have left
    before = len(teacher_cache._CACHES)
    cache_of(other, workload.splits.train, workload, False, tiny.TILE).batch([0])
    assert len(teacher_cache._CACHES) == before + 1
    del other
    gc.collect()
    assert len(teacher_cache._CACHES) == before


def test_of_large_tiles_there_are_fewer(teacher: torch.nn.Module) -> None:
    """There are no more tiles than the bytes that they may take, nor than a cache has of small ones."""
    workload = tiny.workload()
    numbers = tiny.CHANNELS + 1 + 2  # of a pixel: image, reference and two logits, two bytes each
    size = 2 * numbers * tiny.TILE[0] * tiny.TILE[1]

    def count(most_bytes: int) -> int:
        return len(TeacherCache(teacher, workload.splits.train, workload, False, most_bytes=most_bytes))

    assert [count(item) for item in (10 * size + 1, 1, 10**9)] == [10, 1, teacher_cache.MOST_TILES]


def test_an_image_has_one_class(tmp_path: Path) -> None:
    """References of a classification are a number an image, as its loss takes them."""
    workload = load_workload(families.SOURCE, None, tmp_path, {"net": "ResNet"})
    assert workload.build is not None
    teacher = workload.build().eval()
    found = TeacherCache(teacher, workload.splits.train, workload, False).batch([0, 1, 2])
    assert found.taught is not None
    assert found.images.shape == (3, *families.PLANE)
    assert found.references.shape == (3,) and found.taught.shape == (3, 2)


def test_a_teacher_that_is_mirrored_teaches_the_mean(teacher: torch.nn.Module) -> None:
    """Where the pipeline mirrors its calls, a tile is answered with the mean of the mirrored calls, mirrored back."""
    images = torch.randn(2, 3, *tiny.TILE)
    expected = (teacher(images) + torch.flip(teacher(torch.flip(images, [2])), [2])) / 2
    found = teacher_cache.taught_by(teacher, images, False, (0,))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(teacher_cache.taught_by(teacher, images, False, ()), teacher(images))

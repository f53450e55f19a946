"""The baseline training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import Numeric
from autoopt.nets import baseline
from autoopt.nets.baseline import TrainProgress, TrainResult, shrink_factors
from autoopt.nets.batches import random_window, shrunk
from autoopt.nets.weights import find_weights, load_weights, read_info
from autoopt.workloads.contract import Case, Sample, Workload
from tests import tiny

torch = pytest.importorskip("torch")


def small(**changes: object) -> Workload:
    """The tiny workload with another recipe."""
    workload = tiny.workload()
    return replace(workload, recipe=replace(workload.recipe, **{"epochs": 4, **changes}))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainResult, list[TrainProgress], Path]:
    """A finished training, what it told on the way, and its home."""
    home, events = tmp_path_factory.mktemp("home"), list[TrainProgress]()
    return baseline.train(small(epochs=30), home, progress=events.append, threads=1), events, home


def test_learns(trained: tuple[TrainResult, list[TrainProgress], Path]) -> None:
    """Thirty epochs find the foreground of the tiny workload, and the loss falls on the way."""
    result, events, _ = trained

    assert result.test.value > 0.9
    assert (result.val.split, result.test.split) == ("val", "test")
    assert events[-1].loss < events[0].loss
    assert events[-1].epoch == events[-1].epochs == 30
    assert events[-1].best == max(event.val for event in events if event.val is not None) == result.val.value
    assert events[-1].describe().startswith("loss 0.")


def test_stores_what_it_scored(trained: tuple[TrainResult, list[TrainProgress], Path]) -> None:
    """The stored weights are found for the workload, say how they were made, and score what was reported."""
    result, _, home = trained
    model = tiny.build()

    assert find_weights(tiny.workload(), home) == result.path
    info = read_info(result.path)
    assert info is not None
    assert info.val == dict(result.val.values)
    assert info.test == dict(result.test.values)
    assert info.recipe["steps"] == info.recipe["of_steps"] == 90
    load_weights(model, result.path)
    assert baseline.evaluate(model, tiny.workload(), "test") == result.test


def test_the_seed_decides(tmp_path: Path) -> None:
    """One seed gives one file, another seed another, and the random state of the caller is left alone."""
    before, threads = torch.get_rng_state(), torch.get_num_threads()

    one, same, other = (baseline.train(small(), tmp_path, seed=seed, threads=1).path for seed in (0, 0, 1))

    assert one == same != other
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads


def test_half_precision_is_scored_as_stored(tmp_path: Path) -> None:
    """Weights rounded to float16 are rounded before they are scored."""
    result, model = baseline.train(small(), tmp_path, threads=1, half=True), tiny.build()

    load_weights(model, result.path)

    assert baseline.evaluate(model, tiny.workload(), "val") == result.val


def test_a_slow_host_leaves_out_steps(tmp_path: Path) -> None:
    """When time is short, steps are left out, all epochs are gone through, and the recipe tells how many were done."""
    events: list[TrainProgress] = []

    result = baseline.train(small(epochs=2000), tmp_path, threads=1, max_seconds=0.5, progress=events.append)

    info = read_info(result.path)
    assert info is not None
    assert 0 < info.recipe["steps"] < info.recipe["of_steps"]
    assert events[-1].epoch > info.recipe["steps"] / 3


def test_no_time_at_all_stores_the_fresh_weights(tmp_path: Path) -> None:
    """A training without any time still ends with weights that are scored as they are."""
    result = baseline.train(small(), tmp_path, threads=1, max_seconds=1e-9)

    info = read_info(result.path)
    assert info is not None
    assert info.recipe["steps"] == 0


def test_a_loss_that_is_not_finite_ends_the_training(tmp_path: Path) -> None:
    """A training that blows up stores nothing and says where."""

    def spoil(sample: Sample, random: np.random.Generator) -> Sample:
        return Sample(np.full_like(sample.image, 3e38), sample.reference)

    with pytest.raises(Numeric, match="the loss of tiny must stay finite"):
        baseline.train(small(augment=spoil), tmp_path, threads=1)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_never_sees_test_and_never_trains_on_val(tmp_path: Path) -> None:
    """Val is read after epochs only, test once at the end."""
    reads: list[str] = []

    def watched(case: Case, split: str) -> Case:
        def read() -> Sample:
            reads.append(split)
            return case.read()

        return replace(case, read=read)

    workload = small()
    splits = replace(
        workload.splits,
        val=tuple(watched(case, "val") for case in workload.splits.val),
        test=tuple(watched(case, "test") for case in workload.splits.test),
    )

    baseline.train(replace(workload, splits=splits), tmp_path, threads=1)

    first_test = reads.index("test")
    assert "val" not in reads[first_test:]
    assert len(reads) - first_test == 2 * len(splits.test)


def test_coarse_epochs_come_first() -> None:
    """Large tiles are learnt from coarse to fine and end at full resolution; small tiles have no coarse epochs."""
    factors = shrink_factors(25, (224, 224))

    assert factors == sorted(factors, reverse=True)
    assert len(factors) == 25
    assert set(factors) == {4, 2, 1}
    assert shrink_factors(1, (224, 224)) == [1]
    assert shrink_factors(3, (16, 16)) == [1, 1, 1]


def test_shrinking_keeps_image_and_reference_together() -> None:
    """A shrunken image is the mean of blocks, in any number of dimensions, and its reference the label inside them."""
    reference = np.zeros((9, 8, 4), np.uint8)
    reference[4:8, 0:4] = 1
    sample = Sample(reference[..., np.newaxis] * np.uint8(200), reference)

    small_sample = shrunk(sample, 4)

    assert small_sample.image.shape == (2, 2, 1, 1)
    np.testing.assert_array_equal(small_sample.reference[..., 0], [[0, 0], [1, 0]])
    np.testing.assert_array_equal(small_sample.image[..., 0, 0], [[0, 0], [200, 0]])


@pytest.mark.parametrize("shape", [(5, 30), (16, 16), (40, 3)])
def test_windows_have_the_size_of_a_tile(shape: tuple[int, int]) -> None:
    """Whatever the size of a sample, its window has that of the tile, and the image stays on its reference."""
    reference = np.random.default_rng(0).integers(0, 2, size=shape).astype(np.uint8)

    window = random_window(Sample(reference[..., np.newaxis], reference), (16, 16), np.random.default_rng(1))

    assert window.reference.shape == (16, 16)
    np.testing.assert_array_equal(window.image[..., 0], window.reference)

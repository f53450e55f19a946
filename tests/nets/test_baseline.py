"""The baseline training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoopt.errors import Numeric
from autoopt.nets import baseline
from autoopt.nets.baseline import TrainProgress, TrainResult, shrink_factors
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


def test_low_resolutions_come_first() -> None:
    """Large tiles are learnt from a low to the full resolution; small tiles are learnt at the full one throughout."""
    factors = shrink_factors(25, (224, 224))

    assert factors == sorted(factors, reverse=True)
    assert len(factors) == 25
    assert set(factors) == {4, 2, 1}
    assert shrink_factors(1, (224, 224)) == [1]
    assert shrink_factors(3, (16, 16)) == [1, 1, 1]

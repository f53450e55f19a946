"""The reference of a study and the predictions of the source model: which seed it is, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from autoopt.compress.maker import Maker
from autoopt.core.configuration import Scalar
from autoopt.core.store import Artifact, Store
from autoopt.errors import Crash, TrialError
from autoopt.inference.runtimes import BASELINE_LABEL, REFERENCE_LABEL
from autoopt.measure.pack import pack_cases
from autoopt.measure.station import LocalStation
from autoopt.study.space import Seed
from autoopt.study.trial.reference import ReferenceProcess
from autoopt.study.trial.source_model import SourceModel
from tests import tiny
from tests.e2e.quick import LEAST
from tests.targets import RecordingTarget
from tests.worlds import point


class Made:
    """A maker that gives the fake model, unless `refuses` says otherwise of the try with that number."""

    def __init__(self, folder: Path, refuses: Callable[[int], bool] = lambda number: False) -> None:
        self._store, self._refuses = Store(folder / "store"), refuses
        self.tries = 0

    def export(self, name: str, precision: str) -> Artifact:
        self.tries += 1
        if self._refuses(self.tries):
            raise Crash(f"no. {self.tries} died", stage="export")
        build: Callable[[Path], Mapping[str, Any]] = lambda folder: {  # noqa: E731
            "bytes": (folder / "fake.json").write_text('{"classes": 2}')
        }
        return self._store.put("model", "0" * 64, {}, build)


def seed(label: str, **settings: Scalar) -> Seed:
    return Seed(label, point(latency_ms=0.5, **settings), None)


SEEDS = (seed(REFERENCE_LABEL), seed("fake f32", error=0.01), seed("fake bf16"), seed(BASELINE_LABEL, error=0.02))


@pytest.fixture
def world(tmp_path: Path) -> SimpleNamespace:
    target, store = RecordingTarget(tmp_path / "target"), Store(tmp_path / "store")
    return SimpleNamespace(folder=tmp_path, target=target, store=store, cases=pack_cases(tiny.workload(), "val", store))


def reference(world: SimpleNamespace, made: Made, seeds: tuple[Seed, ...] = SEEDS) -> ReferenceProcess:
    return ReferenceProcess(tiny.workload(), cast(Maker, made), LocalStation(world.target), seeds, world.cases, LEAST)


def test_the_compiled_baseline_is_the_reference_where_it_runs(world: SimpleNamespace) -> None:
    """It is opened once, when it is first asked for, stays open, and ends with the block."""
    made = Made(world.folder)
    with reference(world, made) as process:
        assert (made.tries, process.configuration, process.label) == (0, None, "")
        worker = process.worker()
        assert worker is not None and worker is process.worker()
        assert (process.label, process.configuration) == (BASELINE_LABEL, SEEDS[3].configuration)
        assert (made.tries, process.refused) == (1, {})
        assert worker.pid is not None
    assert worker.pid is None


@pytest.mark.parametrize(("refused", "label"), [(1, REFERENCE_LABEL), (2, "fake f32")])
def test_the_next_seed_in_float_takes_its_place(world: SimpleNamespace, refused: int, label: str) -> None:
    """Where the baseline cannot run it is the eager reference, then any other seed in FP32; why is kept."""
    with reference(world, Made(world.folder, lambda number: number <= refused)) as process:
        assert process.worker() is not None
        assert process.label == label
        assert process.refused[BASELINE_LABEL] == "no. 1 died"
        assert len(process.refused) == refused


def test_without_a_seed_that_runs_there_is_no_reference(world: SimpleNamespace) -> None:
    """Every seed in FP32 is tried, none that is not, and trials are measured alone then."""
    made = Made(world.folder, lambda number: True)
    with reference(world, made) as process:
        assert process.worker() is None and process.worker() is None
        assert set(process.refused) == {BASELINE_LABEL, REFERENCE_LABEL, "fake f32"}
        assert made.tries == 3 and process.configuration is None


def source_model(world: SimpleNamespace, made: Made, seeds: tuple[Seed, ...] = SEEDS) -> SourceModel:
    return SourceModel(tiny.workload(), cast(Maker, made), LocalStation(world.target), seeds, world.cases, world.store)


def test_the_source_model_predicts_once(world: SimpleNamespace) -> None:
    """The first seed in FP32 predicts every case; a later study of the same model reads what it predicted."""
    found = source_model(world, Made(world.folder)).predictions
    images = [case.read().image for case in tiny.workload().splits.val]
    assert [item.shape for item in found] == [image.shape[:2] for image in images]
    assert all(np.mean(item == (image[..., 0] > 0)) > 0.9 for item, image in zip(found, images, strict=True))
    asked = len(world.target.asked)
    again = source_model(world, Made(world.folder)).predictions
    assert len(world.target.asked) == asked
    assert all(np.array_equal(one, other) for one, other in zip(found, again, strict=True))


def test_another_seed_predicts_where_the_first_cannot(world: SimpleNamespace) -> None:
    """One that fails is passed over; when all fail the last one says why, and without any that is said."""
    found = source_model(world, Made(world.folder, lambda number: number == 1)).predictions
    first = source_model(world, Made(world.folder)).predictions
    assert any(not np.array_equal(one, other) for one, other in zip(found, first, strict=True)), "it has errors"
    with pytest.raises(Crash, match=r"no\. 3 died"):
        _ = source_model(world, Made(world.folder, lambda number: True)).predictions
    with pytest.raises(TrialError, match="no seed of the space runs the source model"):
        _ = source_model(world, Made(world.folder), (seed("fake bf16"),)).predictions

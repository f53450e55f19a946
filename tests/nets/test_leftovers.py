"""What interrupted trainings left, and who still needs it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from autoopt.core.store import file_digest  # noqa: E402
from autoopt.nets.checkpoint import Checkpoint  # noqa: E402
from autoopt.nets.leftovers import leftovers, remove_leftovers  # noqa: E402
from autoopt.nets.trainer import TrainerState  # noqa: E402
from autoopt.nets.weights import INTERRUPTED, WeightsInfo, save_weights  # noqa: E402

DAY_S = 24 * 3600.0
RECIPE = {"epochs": 2, "version": 4}


def checkpoint(folder: Path, days: float, seed: int = 0, data: str = "d") -> Path:
    made_by = {"workload": "tiny", "data": data, "network": "n", "recipe": RECIPE, "seed": seed, "threads": 1}
    made = Checkpoint(folder, "tiny", made_by)
    made.write(TrainerState(1, 2, None, {}), {})
    return aged(made.path, days)


def weights(folder: Path, days: float, score: float, seed: int = 0, data: str = "d", **recipe: Any) -> Path:
    said = {**RECIPE, "seed": seed, "threads": 1, "steps": 1, "of_steps": 2, "half": False, **recipe}
    info = WeightsInfo("tiny", data, said, val={"dice": score})
    return aged(save_weights(torch.nn.Linear(1, 1), folder, info), days)


def aged(path: Path, days: float) -> Path:
    os.utime(path, (time.time() - days * DAY_S,) * 2)
    return path


def test_a_training_that_is_done_or_forgotten_leaves_nothing(tmp_path: Path) -> None:
    """A checkpoint goes a day after its training was done, else after a month; one of another training stays."""
    weights(tmp_path, 0.1, 0.9)
    done, forgotten = checkpoint(tmp_path, 2), checkpoint(tmp_path, 40, seed=1)
    kept = [checkpoint(tmp_path, 2, seed=2), checkpoint(tmp_path, 2, data="other")]
    (tmp_path / "tiny-foreign.checkpoint").write_bytes(b"not ours")
    aged(tmp_path / "tiny-foreign.checkpoint", 400)
    assert leftovers(tmp_path, ()) == sorted([done, forgotten])
    assert [path for path, _ in remove_leftovers(tmp_path, ())] == sorted([done, forgotten])
    assert all(path.exists() for path in kept)


def test_a_training_at_work_keeps_its_checkpoint(tmp_path: Path) -> None:
    """Begun again after it was done once, a training has a checkpoint that is newer than the weights, or of today."""
    weights(tmp_path, 5, 0.9)
    checkpoint(tmp_path, 2)
    checkpoint(tmp_path, 0, seed=1)
    assert leftovers(tmp_path, ()) == []


def test_weights_of_an_interrupted_training_go_unless_somebody_needs_them(tmp_path: Path) -> None:
    """Those of a study and the best of their workload and data stay, and what is newer than a month (a day if done)."""
    best = weights(tmp_path, 90, 0.8, **{INTERRUPTED: True})
    worse = weights(tmp_path, 90, 0.5, **{INTERRUPTED: True})
    of_a_study = weights(tmp_path, 90, 0.6, **{INTERRUPTED: True})
    young = weights(tmp_path, 20, 0.4, **{INTERRUPTED: True})
    needed = {file_digest(of_a_study)}
    assert leftovers(tmp_path, needed) == [worse]
    ended = weights(tmp_path, 90, 0.1)
    assert leftovers(tmp_path, needed) == sorted([best, worse, young])
    assert ended.exists()

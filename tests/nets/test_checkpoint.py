"""The file from which an interrupted training goes on."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from autoopt.errors import WeightsError  # noqa: E402
from autoopt.nets.checkpoint import Checkpoint  # noqa: E402
from autoopt.nets.trainer import TrainerState  # noqa: E402

MADE_BY = {"seed": 0, "recipe": {"tile": (8, 8), "rate": 1e-3}}
FACTS = {"random": {"state": 2**127 + 1}, "seconds": 0.1}


def state() -> TrainerState:
    shared = torch.arange(6.0).reshape(2, 3).t()
    return TrainerState(
        3, 40, 1.0, {"model.a": shared, "model.b": shared, "best.a": torch.tensor(7), "r": torch.tensor([True])}
    )


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    """Tensors of every kind, also shared ones, and plain facts come back as they were, and the last write counts."""
    checkpoint = Checkpoint(tmp_path / "weights", "tiny", MADE_BY)
    assert checkpoint.read() is None
    checkpoint.write(TrainerState(1, 2, None, {}), {})
    checkpoint.write(state(), FACTS)

    found = Checkpoint(tmp_path / "weights", "tiny", MADE_BY).read()
    assert found is not None
    read, written = found[0], state()
    assert (read.rounds, read.steps, read.best, found[1]) == (3, 40, 1.0, FACTS) and isinstance(read.best, float)
    assert read.tensors.keys() == written.tensors.keys()
    for name, value in written.tensors.items():
        assert read.tensors[name].dtype == value.dtype and torch.equal(read.tensors[name], value)
    assert [path.name for path in (tmp_path / "weights").iterdir()] == [checkpoint.path.name]


def damaged(data: bytes) -> list[bytes]:
    """What may be found in place of a checkpoint: cut, flipped, emptied, of another format, a trap."""
    flips = [bytes([*data[:place], data[place] ^ 4, *data[place + 1 :]]) for place in (0, 9, 60, len(data) - 1)]
    trap = pickle.dumps({"state_dict": os.getcwd})
    return [b"", data[:7], data[:100], data[:-1], *flips, trap, b"\xff" * 64, b"\2\0\0\0\0\0\0\0[]"]


@pytest.mark.parametrize("kind", range(11))
def test_a_damaged_file_is_one_sentence(tmp_path: Path, kind: int) -> None:
    """A file that was cut, altered or replaced is never half read: the error names it."""
    checkpoint = Checkpoint(tmp_path, "tiny", MADE_BY)
    checkpoint.write(state(), FACTS)
    checkpoint.path.write_bytes(damaged(checkpoint.path.read_bytes())[kind])
    with pytest.raises(WeightsError, match=f"the checkpoint {checkpoint.path} (cannot be read|was altered)"):
        checkpoint.read()


def test_another_training_is_told_apart(tmp_path: Path) -> None:
    """Each training has a file of its own, says in what others of its workload differ, and does not read them."""
    one, other = (Checkpoint(tmp_path, "tiny", {**MADE_BY, "seed": seed}) for seed in (0, 1))
    one.write(state(), FACTS)
    Checkpoint(tmp_path, "tiny-2", MADE_BY).write(state(), FACTS)
    (tmp_path / "tiny-junk.checkpoint").write_bytes(b"junk")
    assert other.read() is None and other.others() == {one.path: ["seed"]}
    one.path.rename(other.path)
    assert other.read() is None


def test_what_a_kill_left_goes_with_it(tmp_path: Path) -> None:
    """Removing a checkpoint removes old half-written ones too, and nothing that a process may be writing now."""
    checkpoint = Checkpoint(tmp_path, "tiny", MADE_BY)
    checkpoint.write(state(), FACTS)
    old, new = (tmp_path / f".{checkpoint.path.name}-{name}" for name in ("old", "new"))
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    checkpoint.remove()
    checkpoint.remove()
    assert list(tmp_path.iterdir()) == [new]

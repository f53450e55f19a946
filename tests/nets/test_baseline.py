"""The baseline training."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autoopt import terminal
from autoopt.errors import Interrupted, Numeric, UsageError
from autoopt.nets import baseline
from autoopt.nets.baseline import TrainProgress, TrainResult
from autoopt.nets.weights import find_weights, load_weights, read_info, remark_on, save_weights
from autoopt.workloads.contract import Case, Sample, Workload
from tests import tiny

torch = pytest.importorskip("torch")


def small(**changes: object) -> Workload:
    """The tiny workload with another recipe."""
    workload = tiny.workload()
    return replace(workload, recipe=replace(workload.recipe, **{"epochs": 4, **changes}))  # type: ignore[arg-type]


def files(home: Path) -> list[str]:
    """The kinds of the files that are left of trainings."""
    return sorted(path.suffix for path in home.rglob("*") if path.is_file())


def noisy(sample: Sample, random: np.random.Generator) -> Sample:
    return Sample(sample.image + random.normal(scale=0.1, size=sample.image.shape).astype(np.float32), sample.reference)


def forgetful() -> torch.nn.Module:
    """The network of the tiny workload with dropout, which draws from torch's own random state."""
    return torch.nn.Sequential(tiny.build(), torch.nn.Dropout(0.1))


def opposite(case: Case) -> Case:
    """The case with foreground and background in each other's place."""

    def read() -> Sample:
        sample = case.read()
        return Sample(sample.image, 1 - sample.reference)

    return replace(case, read=read)


def demanding() -> Workload:
    """A training that hangs on every state there is: two resolutions, random images, dropout, and early best weights.

    The more is learnt the worse is the score, because val wants the opposite.
    """
    workload = small(epochs=6, tile=(96, 96), augment=noisy)
    val = tuple(map(opposite, workload.splits.val))
    return replace(workload, build=forgetful, splits=replace(workload.splits, val=val))


def interrupt_at(epoch: int, *, scored: bool = False) -> Callable[[TrainProgress], None]:
    """A listener that is interrupted when it hears of this epoch, if need be of its score."""

    def hear(now: TrainProgress) -> None:
        if now.epoch == epoch and (now.val is not None or not scored):
            raise KeyboardInterrupt

    return hear


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


def test_the_least_error_is_kept(tmp_path: Path) -> None:
    """Of a primary metric of which less is better the epoch with the least is stored, and of files the one with it."""
    workload, events = replace(demanding(), metrics=("volume_difference",)), list[TrainProgress]()
    result = baseline.train(workload, tmp_path, progress=events.append, threads=1)
    scores = [event.val for event in events if event.val is not None]
    assert 0 <= result.val.value == events[-1].best == min(scores) < max(scores)
    info = read_info(result.path)
    assert info is not None
    save_weights(tiny.build(), tmp_path / "weights", replace(info, val={"volume_difference": result.val.value + 1}))
    assert find_weights(workload, tmp_path) == result.path


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


def test_a_busy_host_chooses_the_same_epoch(tmp_path: Path) -> None:
    """Which epochs are scored hangs on what was computed, not on the time: a slow host gets the same weights."""

    def slow(case: Case) -> Case:
        def read() -> Sample:
            time.sleep(0.05)
            return case.read()

        return replace(case, read=read)

    workload = small(epochs=8)
    val = tuple(slow(case) for case in workload.splits.val)
    heard: list[list[TrainProgress]] = [[], []]
    one = baseline.train(workload, tmp_path / "a", threads=1, progress=heard[0].append)
    slowed = replace(workload, splits=replace(workload.splits, val=val))
    other = baseline.train(slowed, tmp_path / "b", threads=1, progress=heard[1].append)

    scored = [[event.epoch for event in events if event.val is not None] for events in heard]
    assert scored[0] == scored[1] == [1, 4, 7, 8]
    assert one.path.read_bytes() == other.path.read_bytes()


def test_only_a_limit_of_time_leaves_out_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With too little time steps are left out, all epochs are gone through, and the result and the weights say so."""
    events: list[TrainProgress] = []

    result = baseline.train(small(epochs=2000), tmp_path, threads=1, max_seconds=0.5, progress=events.append)

    info = read_info(result.path)
    assert info is not None
    assert 0 < info.recipe["steps"] < info.recipe["of_steps"]
    assert events[-1].epoch > info.recipe["steps"] / 3
    assert result.left_out == f"they were trained for {info.recipe['steps']} of 6000 steps, the time was up"
    terminal.train_result(result, source="tiny", data=None)
    assert f"These weights may be worse than the recipe can: {result.left_out}." in capsys.readouterr().out
    whole = baseline.train(small(), tmp_path, threads=1)
    terminal.train_result(whole, source="tiny", data=None)
    assert whole.left_out == "" and "worse" not in capsys.readouterr().out
    with pytest.raises(UsageError, match="--time must be longer than nothing, got 0 s"):
        baseline.train(small(), tmp_path, threads=1, max_seconds=0.0)


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
    assert not files(tmp_path)


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


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of the demanding training when nothing interrupts it."""
    result = baseline.train(demanding(), tmp_path_factory.mktemp("home"), threads=1)
    return result.path.read_bytes()


@pytest.mark.parametrize("epochs", [(2,), (5,), (1, 2, 3, 4, 5, 6)])
def test_an_interrupted_training_ends_with_the_same_weights(
    tmp_path: Path, undisturbed: bytes, epochs: tuple[int, ...]
) -> None:
    """However often it is interrupted, in an epoch or after one, the same call ends with the very same file."""
    for epoch in epochs:
        with pytest.raises(Interrupted):
            baseline.train(demanding(), tmp_path, threads=1, progress=interrupt_at(epoch))
    remarks: list[str] = []

    result = baseline.train(demanding(), tmp_path, threads=1, on_remark=remarks.append)

    assert result.path.read_bytes() == undisturbed
    assert remarks == [f"the training that was interrupted goes on after epoch {epochs[-1] - 1} of 6"]
    assert ".checkpoint" not in files(tmp_path)


def test_an_interrupted_training_scores_the_same_epochs(tmp_path: Path) -> None:
    """The looks at val do not begin anew after an interrupt."""
    scored: list[int] = []

    def hear(now: TrainProgress) -> None:
        if now.val is not None:
            scored.append(now.epoch)

    def stop_at(epoch: int) -> Callable[[TrainProgress], None]:
        def stop(now: TrainProgress) -> None:
            hear(now)
            interrupt_at(epoch)(now)

        return stop

    for epoch in (2, 6):
        with pytest.raises(Interrupted):
            baseline.train(small(epochs=8), tmp_path, threads=1, progress=stop_at(epoch))
    baseline.train(small(epochs=8), tmp_path, threads=1, progress=hear)

    assert scored == [1, 4, 7, 8]


def test_a_training_interrupted_at_its_last_scores_is_not_done_again(tmp_path: Path, undisturbed: bytes) -> None:
    """When only the scores of the end are missing, no step is trained again."""
    workload, heard = demanding(), list[TrainProgress]()

    def stop() -> Sample:
        raise KeyboardInterrupt

    first, *others = workload.splits.test
    test = (replace(first, read=stop), *others)
    with pytest.raises(Interrupted, match="the same command continues after epoch 6 of 6"):
        baseline.train(replace(workload, splits=replace(workload.splits, test=test)), tmp_path, threads=1)

    assert baseline.train(workload, tmp_path, threads=1, progress=heard.append).path.read_bytes() == undisturbed
    assert heard == []


def test_an_interrupt_keeps_the_best_weights(tmp_path: Path) -> None:
    """The best weights so far are a file that a search can use, named with its score; finished ones come before it."""
    workload = replace(small(epochs=9), demo=True)
    with pytest.raises(Interrupted) as caught:
        baseline.train(workload, tmp_path, threads=1, half=True, progress=interrupt_at(7, scored=True))

    kept = find_weights(workload, tmp_path)
    assert kept is not None
    info, model = read_info(kept), tiny.build()
    assert info is not None and info.demo and info.test == {}
    load_weights(model, kept)
    best = info.val["dice_macro"]
    assert baseline.evaluate(model, workload, "val").value == best
    assert str(caught.value) == (
        f"the best weights so far (dice_macro {best:.4f} on val of tiny (demo data)) are in {kept}; "
        "the same command continues after epoch 6 of 9"
    )
    assert remark_on(kept) == "they are the best of a training that was interrupted after 21 of 27 steps"

    finished = baseline.train(small(epochs=1), tmp_path, threads=1)
    assert finished.val.value < best and find_weights(workload, tmp_path) == finished.path


def test_an_interrupt_before_the_first_epoch_keeps_nothing(tmp_path: Path) -> None:
    """Nothing is promised, and nothing is left, where no epoch was finished."""
    with pytest.raises(Interrupted, match=r"^the same command begins anew, no epoch was finished$"):
        baseline.train(small(), tmp_path, threads=1, progress=interrupt_at(0))
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("changed", "facts", "names"),
    [
        (small(learning_rate=1e-3), {}, "recipe"),
        (replace(small(), data_digest="other"), {}, "data"),
        (replace(small(), build=forgetful), {}, "network"),
        (small(), {"seed": 1, "threads": 2}, "seed, threads"),
        (small(), {"max_seconds": 3600.0}, "time"),
    ],
)
def test_another_training_is_not_continued(
    tmp_path: Path, changed: Workload, facts: dict[str, object], names: str
) -> None:
    """A checkpoint of another recipe, data, network, seed, number of threads or time is left alone, in words."""
    with pytest.raises(Interrupted):
        baseline.train(small(), tmp_path, threads=1, progress=interrupt_at(2))
    (checkpoint,) = tmp_path.rglob("*.checkpoint")
    remarks, epochs = list[str](), list[int]()

    arguments = {"threads": 1, **facts}
    baseline.train(
        changed,
        tmp_path,
        on_remark=remarks.append,
        progress=lambda now: epochs.append(now.epoch),
        **arguments,  # type: ignore[arg-type]
    )

    assert remarks == [f"{checkpoint} has an interrupted training of other {names}: it is not continued"]
    assert epochs[0] == 0 and checkpoint.exists()


def test_a_damaged_checkpoint_is_said_and_the_training_begins_anew(tmp_path: Path) -> None:
    """One flipped bit is enough: a sentence names the file, and the weights are those of a fresh training."""
    fresh = baseline.train(small(), tmp_path / "fresh", threads=1)
    with pytest.raises(Interrupted):
        baseline.train(small(), tmp_path, threads=1, progress=interrupt_at(3))
    (checkpoint,) = tmp_path.rglob("*.checkpoint")
    data = bytearray(checkpoint.read_bytes())
    data[-5] ^= 1
    checkpoint.write_bytes(data)
    remarks: list[str] = []

    result = baseline.train(small(), tmp_path, threads=1, on_remark=remarks.append)

    assert remarks == [f"the checkpoint {checkpoint} was altered: the training begins anew"]
    assert result.path.read_bytes() == fresh.path.read_bytes()
    assert not checkpoint.exists()

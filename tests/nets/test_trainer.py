"""The training loop that the baseline and the recovery share."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from autoopt.errors import Numeric  # noqa: E402
from autoopt.nets.files import read_net  # noqa: E402
from autoopt.nets.trainer import Batch, Round, TimeLimit, Trainer, TrainerProgress, TrainerSettings, TrainerState  # noqa: E402
from autoopt.nets.training_step import channels_last, distance, loss_of, rate_at  # noqa: E402
from tests import tiny  # noqa: E402

FOREVER = TimeLimit(math.inf, 0.0)


def settings(**changes: object) -> TrainerSettings:
    known = {"name": "tiny", "learning_rate": 1e-2, "weight_decay": 1e-4, "activation": "softmax", "advice": "do less"}
    return TrainerSettings(**{**known, **changes})  # type: ignore[arg-type]


@pytest.fixture
def model(tmp_path: Path) -> torch.nn.Module:
    return read_net(tiny.workload(), tiny.weights(tmp_path / "w.safetensors")).requires_grad_(True)


def batches(count: int, *, taught: bool = False) -> list[Batch]:
    random = torch.Generator().manual_seed(0)
    found = []
    for _ in range(count):
        images = torch.randn(2, 3, 16, 16, generator=random)
        answers = torch.randn(2, 2, 16, 16, generator=random) if taught else None
        found.append(Batch(images, torch.randint(0, 2, (2, 16, 16), generator=random), answers))
    return found


def endless(item: Round) -> Iterator[Batch]:
    return itertools.cycle(batches(3))


class Scores:
    """What is given instead of a score: the next of `values`, and what it was asked."""

    def __init__(self, *values: float | None) -> None:
        self._values = iter(values)
        self.last: list[bool] = []

    def __call__(self, last: bool) -> float | None:
        self.last.append(last)
        return next(self._values)


def weights(model: torch.nn.Module) -> torch.Tensor:
    return model.get_submodule("head").weight.detach().clone()


@pytest.mark.parametrize("taught", [False, True])
def test_the_loop_is_adamw_along_one_cycle(model: torch.nn.Module, taught: bool) -> None:
    """To the bit, weights are those of a plain loop: loss, clipped gradients, AdamW at the rate of the work done."""
    plain, given = channels_last(copy.deepcopy(model)), batches(7, taught=taught)
    trainer = Trainer(model, settings())
    source = iter(given)
    trainer.run([Round(3), Round(4)], lambda item: source, Scores(1.0, 2.0), FOREVER)

    optimizer = torch.optim.AdamW(plain.parameters(), lr=1e-2, weight_decay=1e-4)
    plain.train()
    for done, batch in enumerate(given):
        optimizer.param_groups[0]["lr"] = 1e-2 * rate_at(done / 7)
        optimizer.zero_grad()
        logits = plain(channels_last(batch.images))
        if batch.taught is None:
            loss_of(logits, batch.references, "softmax").backward()
        else:
            distance(logits, batch.taught, "softmax").backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 5.0)
        optimizer.step()

    assert trainer.steps_done == 7
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in model.state_dict().items())


def test_the_best_weights_are_kept(model: torch.nn.Module) -> None:
    """The model ends with the weights of its best score, and looks that would take too long change nothing."""
    seen: list[torch.Tensor] = []
    scores = Scores(0.5, 0.9, None, 0.7)

    def score(last: bool) -> float | None:
        seen.append(weights(model))
        return scores(last)

    trainer = Trainer(model, settings())
    trainer.run([Round(2)] * 4, endless, score, FOREVER)
    assert trainer.best == 0.9 and scores.last == [False, False, False, True]
    assert torch.equal(weights(model), seen[1]) and not torch.equal(seen[1], seen[3])


def test_weights_kept_before_count(model: torch.nn.Module) -> None:
    """A training that only harms ends with the weights that it began with."""
    trainer, before = Trainer(model, settings()), weights(model)
    trainer.keep(1.0)
    trainer.run([Round(2)] * 2, endless, Scores(0.1, math.nan), FOREVER)
    assert trainer.best == 1.0 and torch.equal(weights(model), before)


def test_only_scored_rounds_are_scored(model: torch.nn.Module) -> None:
    """A round at a low resolution is not scored; where no round is, the weights of the end are."""
    scores = Scores(0.5)
    Trainer(model, settings()).run([Round(1, factor=2, scored=False), Round(1, scored=False)], endless, scores, FOREVER)
    assert scores.last == [True]


def test_the_listener_hears_every_step(model: torch.nn.Module) -> None:
    """It is told the rounds that are done, the mean loss of the round, the score that was just taken and the best."""
    heard: list[TrainerProgress] = []
    Trainer(model, settings()).run([Round(2), Round(1)], endless, Scores(0.5, 0.4), FOREVER, heard.append)
    assert [(item.rounds, item.score, item.best) for item in heard] == [
        (0, None, None),
        (0, None, None),
        (1, 0.5, 0.5),
        (1, None, 0.5),
        (2, 0.4, 0.5),
    ]
    assert heard[1].loss == heard[2].loss and all(math.isfinite(item.loss) for item in heard)


def test_steps_are_left_out_to_end_in_time(model: torch.nn.Module) -> None:
    """With half of the time that all steps need, half of the work is done, in all rounds; the rest is not drawn."""
    now, work = [0.0], {2: 0.0, 1: 0.0}

    def source(item: Round) -> Iterator[Batch]:
        for batch in endless(item):
            now[0] += 2 * item.work
            work[item.factor] += item.work
            yield batch

    rounds, limit = [Round(20, factor=2, work=0.25), Round(20)], TimeLimit(25.0, 0.0, skips=True, clock=lambda: now[0])
    trainer = Trainer(model, settings())
    trainer.run(rounds, source, Scores(0.5, 0.6), limit)
    assert work == {2: pytest.approx(2.5, abs=1.5), 1: pytest.approx(10.0, abs=1.5)} and now[0] <= 27.0
    assert trainer.steps_done == work[2] / 0.25 + work[1]


def test_a_training_may_end_at_a_look(model: torch.nn.Module) -> None:
    """Without skipping, all steps of a round are done, and none after the look that came too late."""
    trainer, clock = Trainer(model, settings()), iter((1.0, 2.0))
    trainer.run([Round(3)] * 5, endless, Scores(0.1, 0.2), TimeLimit(1.5, 0.0, clock=lambda: next(clock)))
    assert trainer.steps_done == 6


def test_a_loss_that_is_not_finite_says_where(model: torch.nn.Module) -> None:
    """The error has what is trained, the loss, the step, what to do and the stage."""
    with torch.no_grad():
        model.get_submodule("head").bias.fill_(math.nan)
    with pytest.raises(Numeric, match="the loss of tiny must stay finite, it is nan at step 1: do less") as caught:
        Trainer(model, settings(stage="train")).run([Round(1)], endless, Scores(), FOREVER)
    assert caught.value.stage == "train"


def test_norms_may_be_fixed(model: torch.nn.Module) -> None:
    """With fixed norms a training leaves running statistics as they are; else they follow what is learnt."""
    norm = model.get_submodule("norm")
    for fixed in (True, False):
        before = norm.running_mean.clone()
        Trainer(model, settings(fixed_norms=fixed)).run([Round(2)], endless, Scores(1.0), FOREVER)
        assert torch.equal(norm.running_mean, before) is fixed


def test_what_is_frozen_is_not_trained(model: torch.nn.Module) -> None:
    """Weights that need no gradient stay as they are."""
    model.get_submodule("stem").requires_grad_(False)
    before = model.get_submodule("stem").weight.clone()
    Trainer(model, settings()).run([Round(2)], endless, Scores(1.0), FOREVER)
    assert torch.equal(model.get_submodule("stem").weight, before)


def test_a_standing_of_another_network_is_refused(model: torch.nn.Module) -> None:
    """What does not fit changes nothing: tensors that are missing, of another shape, or of another optimiser."""
    trainer = Trainer(model, settings())
    trainer.run([Round(2)], endless, Scores(1.0), FOREVER)
    right = trainer.state()
    shorter = {name: value for name, value in right.tensors.items() if name != "model.head.bias"}
    for tensors in (
        shorter,
        *({**right.tensors, name: torch.zeros(5)} for name in ("best.head.bias", "optimizer.0.x")),
    ):
        fresh = Trainer(tiny.build(), settings())
        with pytest.raises(ValueError, match=r"other tensors than the network|has the shape"):
            fresh.restore(TrainerState(1, 2, 1.0, tensors))
        assert (fresh.rounds_done, fresh.best) == (0, None)

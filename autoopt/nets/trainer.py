"""The training loop: one for a network that learns alone (baseline.py) and one that has a teacher (recovery.py).

It has the optimiser, the learning-rate schedule, the time limit, the looks at the hold-out and the best weights; what
differs between the two, the batches and the score, is given to it. Between two rounds it can be taken down as a
`TrainerState`, from which another process goes on to the same weights.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.errors import Numeric
from autoopt.nets.norms import norms_of
from autoopt.nets.optimizers import ADAMW, optimizer, set_rate
from autoopt.nets.training_step import channels_last, distance, loss_of, rate_at

if TYPE_CHECKING:
    import torch

LARGEST_GRADIENT = 5.0
"""Gradients are scaled down to this norm."""
SLACK = 0.1
"""How far, as a share of all work, a training may be behind its time limit at the start: loading has no steps."""

MODEL, BEST, OPTIMIZER = "model.", "best.", "optimizer."
"""What the names of the tensors of a `TrainerState` begin with."""


@dataclass(frozen=True)
class Batch:
    """What one step learns from.

    `images` float32 (n, channels, *tile); `references` integers (n, *tile), (n, *tile, labels) or (n,); `taught` what
    the teacher answers, float32 (n, classes, *tile) or (n, classes), None without a teacher.
    """

    images: torch.Tensor
    references: torch.Tensor
    taught: torch.Tensor | None = None


@dataclass(frozen=True)
class Round:
    """Some steps, after which the hold-out may be scored.

    `factor` divides the resolution of the batches; `work` is what a step costs, 1 at full resolution.
    """

    steps: int
    factor: int = 1
    work: float = 1.0
    scored: bool = True


@dataclass(frozen=True)
class TrainerSettings:
    """How a network is trained, whatever it is trained on.

    `learning_rate` is the highest of the schedule. `bf16` computes in bfloat16, `channels_last` lays out memory that
    way, `fixed_norms` leaves the running statistics of batch norms as they are. `name` and `advice` are for messages:
    what is trained, and what to do when the loss is not finite; `stage` is that of the error then. `optimizer` is a
    name of `OPTIMIZERS`.
    """

    name: str
    learning_rate: float
    weight_decay: float
    activation: str
    advice: str
    bf16: bool = False
    channels_last: bool = True
    fixed_norms: bool = False
    stage: str = ""
    optimizer: str = ADAMW


@dataclass(frozen=True)
class TimeLimit:
    """The seconds that a training may take since `began`, and what it does when they are short.

    With `skips` it leaves out steps all along, so that it goes through all rounds and learning rates in time; else it
    ends at the first look at the hold-out after its time.
    """

    seconds: float
    began: float
    skips: bool = False
    clock: Callable[[], float] = time.monotonic

    def skips_step(self, done: float) -> bool:
        """Whether to leave out the next step, after the fraction `done` of all work."""
        time_left = 1 - (self.clock() - self.began) / self.seconds if self.skips else math.inf
        return time_left <= 0 or 1 - done > time_left * (1 + SLACK)

    def ends(self) -> bool:
        """Whether to end after a look at the hold-out."""
        return not self.skips and self.clock() - self.began > self.seconds


@dataclass(frozen=True)
class TrainerProgress:
    """Where a training is: rounds done, mean loss of the round so far, the score if just taken, the best score."""

    rounds: int
    loss: float
    score: float | None
    best: float | None


@dataclass(frozen=True)
class TrainerState:
    """A training between two rounds: with the batches and scores to come, all that its rest depends on.

    `rounds` and `steps` are done; `best` is the best score so far, None before the first. `tensors` are those of the
    model as `model.NAME`, of the best weights as `best.NAME` and of the optimiser as `optimizer.NUMBER.NAME`.
    """

    rounds: int
    steps: int
    best: float | None
    tensors: Mapping[str, torch.Tensor]


def silent(progress: TrainerProgress) -> None:
    """The listener that does nothing."""


def no_pause() -> None:
    """What is done between two rounds where nothing is to be done."""


class Trainer:
    """Trains one network in place, and remembers the weights that scored best."""

    def __init__(self, model: torch.nn.Module, settings: TrainerSettings) -> None:
        self.settings = settings
        self.model: torch.nn.Module = channels_last(model) if settings.channels_last else model
        self._dtype = next((item.dtype for item in model.parameters()), None)
        self.steps_done = 0
        self.rounds_done = 0
        self._kept: tuple[float, dict[str, Any]] | None = None  # in one piece: an interrupt never parts them
        self._optimizer: torch.optim.Optimizer | None = None

    @property
    def best(self) -> float | None:
        """The best score so far, None before the first."""
        return None if self._kept is None else self._kept[0]

    def run(
        self,
        rounds: Sequence[Round],
        batches: Callable[[Round], Iterator[Batch]],
        score: Callable[[bool], float | None],
        limit: TimeLimit,
        listener: Callable[[TrainerProgress], None] = silent,
        between: Callable[[], None] = no_pause,
    ) -> None:
        """Train; the model ends with the weights that scored best. After `restore` it goes on from there.

        `batches` gives the batches of a round, of which those are drawn that time allows. `score` says how good the
        model is on the hold-out, more being better, or None where looking would take too long; it is told whether the
        look is the last. `between` is called after every round that had a step, when `state` may be asked. Raises
        Numeric when the loss is not finite.
        """
        if self._optimizer is None:
            self._optimizer = self._new_optimizer()
        work, done = sum(item.steps * item.work for item in rounds), 0.0
        for place, item in enumerate(rounds):
            if place < self.rounds_done:
                for _ in range(item.steps):  # added up as in the loop below: the sum is the same to the last bit
                    done += item.work
                continue
            source, losses, found = batches(item), list[float](), None
            for _ in range(item.steps):
                if not limit.skips_step(done / work):
                    losses.append(self._step(self._optimizer, next(source), done / work))
                    listener(TrainerProgress(place, float(np.mean(losses)), None, self.best))
                done += item.work
            if losses:
                if item.scored and (found := score(place + 1 == len(rounds))) is not None:
                    self.keep(found)
                listener(TrainerProgress(place + 1, float(np.mean(losses)), found, self.best))
            self.rounds_done = place + 1
            if losses:  # what was left out needs no pause
                between()
            if limit.ends():
                break
        if self.best is None and (found := score(True)) is not None:
            self.keep(found)
        self.take_best()

    def keep(self, score: float) -> None:
        """Remember the weights as they are if they score better than all before; the first are always remembered."""
        if self.best is None or score > self.best:
            self._kept = score, copy.deepcopy(self.model.state_dict())

    def take_best(self) -> float | None:
        """Give the model the best weights so far, and return their score; None, and nothing is done, without any."""
        if self._kept is None:
            return None
        score, weights = self._kept
        self.model.load_state_dict(weights)
        return score

    def state(self) -> TrainerState:
        """Where the training stands; the tensors are those of the training itself, no copies."""
        tensors = {f"{MODEL}{name}": value for name, value in self.model.state_dict().items()}
        if self._kept is not None:
            tensors |= {f"{BEST}{name}": value for name, value in self._kept[1].items()}
        if self._optimizer is not None:
            for number, item in enumerate(self._trained()):
                state = self._optimizer.state.get(item, {})
                tensors |= {f"{OPTIMIZER}{number}.{name}": value for name, value in state.items()}
        return TrainerState(self.rounds_done, self.steps_done, self.best, tensors)

    def restore(self, state: TrainerState) -> None:
        """Go on from `state` at the next `run`. Raises ValueError when its tensors are not those of this network."""
        import torch

        model, best = _named(MODEL, state.tensors), _named(BEST, state.tensors)
        shapes = _shapes(self.model.state_dict())
        if _shapes(model) != shapes or (state.best is not None and _shapes(best) != shapes):
            raise ValueError("it has other tensors than the network")
        fresh = self._new_optimizer()
        for number, item in enumerate(self._trained()):
            for name, value in _named(f"{OPTIMIZER}{number}.", state.tensors).items():
                if value.shape not in (item.shape, ()):
                    raise ValueError(f"the optimiser's {name} of tensor {number} has the shape {tuple(value.shape)}")
                # In the layout of the weights: sums of other layouts may differ in the last bit.
                same = value.shape == item.shape
                fresh.state[item][name] = torch.zeros_like(item, dtype=value.dtype).copy_(value) if same else value
        self.model.load_state_dict(model)
        self._kept = None if state.best is None else (state.best, best)
        self._optimizer, self.rounds_done, self.steps_done = fresh, state.rounds, state.steps

    def _trained(self) -> list[torch.nn.Parameter]:
        return [item for item in self.model.parameters() if item.requires_grad]

    def _new_optimizer(self) -> torch.optim.Optimizer:
        settings = self.settings
        return optimizer(
            settings.optimizer,
            self._trained(),
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )

    @property
    def optimizer(self) -> torch.optim.Optimizer | None:
        """The optimiser with its state, once a training began."""
        return self._optimizer

    def observe(self, batches: Iterable[Batch]) -> None:
        """Run the model on batches as it will be used, without learning: for hooks that watch what it computes."""
        import torch

        self.model.eval()
        with torch.no_grad():
            for batch in batches:
                self._logits(batch)

    def mean_loss(self, batches: Sequence[Batch]) -> float:
        """The mean loss over batches, with the model as it will be used."""
        import torch

        self.model.eval()
        with torch.no_grad():
            return float(np.mean([self._loss(batch).item() for batch in batches]))

    def in_layout(self, images: torch.Tensor) -> torch.Tensor:
        """The images in the layout of memory in which the model computes fastest."""
        found: torch.Tensor = channels_last(images) if self.settings.channels_last else images.contiguous()
        return found

    def _step(self, optimizer: torch.optim.Optimizer, batch: Batch, done: float) -> float:
        """One step on a batch, after the fraction `done` of all work; its loss."""
        import torch

        self.model.train()
        if self.settings.fixed_norms:
            for norm in norms_of(self.model):
                norm.eval()
        set_rate(optimizer, self.settings.learning_rate * rate_at(done))
        optimizer.zero_grad()
        loss = self._loss(batch)
        value = loss.item()
        if not math.isfinite(value):
            raise Numeric(
                f"the loss of {self.settings.name} must stay finite, it is {value} at step {self.steps_done + 1}: "
                f"{self.settings.advice}",
                stage=self.settings.stage,
            )
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        self.steps_done += 1
        return value

    def _loss(self, batch: Batch) -> torch.Tensor:
        """The distance to the teacher's answers; without a teacher, the loss against the references."""
        logits, activation = self._logits(batch), self.settings.activation
        if batch.taught is not None:
            return distance(logits, batch.taught, activation)
        return loss_of(logits, batch.references, activation)

    def _logits(self, batch: Batch) -> torch.Tensor:
        import torch

        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.bf16):
            logits: torch.Tensor = self.model(self.in_layout(batch.images).to(dtype=self._dtype))
        return logits.float()


def _named(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors whose names begin with `prefix`, by the rest of their names."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in tensors.items()}

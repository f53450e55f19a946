"""The baseline: `autoopt train`. A short deterministic training on the CPU, coarse tiles first, then full ones.

Trains on the train and calibration splits, chooses the best epoch on val, scores test once at the end.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoopt.core.scores import Quality
from autoopt.errors import Numeric, WorkloadError
from autoopt.inference.pipeline import predict
from autoopt.inference.runtimes.shared import trains_bf16
from autoopt.measure.quality import score
from autoopt.nets.batches import Examples
from autoopt.nets.training_step import laid_out, loss_of, rate_at
from autoopt.nets.weights import WeightsInfo, round_to_half, save_weights
from autoopt.workloads.contract import Case, SplitName, Workload

if TYPE_CHECKING:
    import torch

RECIPE_VERSION = 3
"""Raised when this file trains differently; part of the recipe that the weights carry."""
COARSE_SHARES = {4: 0.42, 2: 0.17}
"""Shares of the epochs on tiles with a quarter and with half of the resolution, before the full one: in 2D a
sixteenth and a quarter of the cost, and there is much to learn before fine detail matters."""
SMALLEST_COARSE_TILE = 48
"""Smaller than this a coarse tile tells a network with four poolings next to nothing."""
LARGEST_GRADIENT = 5.0
SLACK = 0.1
"""How far, as a share of all work, a training may be behind its time limit at the start: loading has no steps."""
SCORING_SHARE = 8
"""Val is scored again when the training took this many times as long as the last scoring did."""


@dataclass(frozen=True)
class TrainProgress:
    """Where a training is: `epoch` of `epochs` done, mean `loss` of the epoch so far.

    `val` is the primary metric on val where it was just scored, `best` the best so far.
    """

    epoch: int
    epochs: int
    loss: float
    seconds: float
    metric: str
    val: float | None = None
    best: float | None = None

    def describe(self) -> str:
        """One line for a person."""
        text = f"loss {self.loss:.4f}"
        if self.val is not None:
            text += f", val {self.metric} {self.val:.4f}"
        if self.best is not None:
            text += f" (best {self.best:.4f})"
        return text


@dataclass(frozen=True)
class TrainResult:
    """The stored weights, their quality on val (which chose them) and on test, and the wall seconds of it all."""

    path: Path
    val: Quality
    test: Quality
    seconds: float


def train(
    workload: Workload,
    home: Path,
    *,
    progress: Callable[[TrainProgress], None] | None = None,
    seed: int = 0,
    threads: int | None = None,
    max_seconds: float | None = None,
    half: bool = False,
) -> TrainResult:
    """Train the workload's model by its recipe and store the weights in `home`/weights.

    The same seed and number of threads give the same weights, unless the host is too slow for
    `max_seconds` (or the recipe's): then steps are left out all along, so that the training still goes
    through all resolutions and learning rates, in time. With `half` the weights are rounded to float16
    before they are scored and stored. Raises Numeric when the loss is not finite.
    """
    from autoopt.measure.host import usable_cores

    started = time.monotonic()
    threads = threads or usable_cores()
    with _torch_state(seed, threads):
        limit_s = workload.recipe.max_seconds if max_seconds is None else max_seconds
        trainer = _Trainer(workload, seed, started, limit_s)
        val = trainer.run(progress or (lambda event: None))
        if half:
            round_to_half(trainer.model)
            val = evaluate(trainer.model, workload, "val")
        test = evaluate(trainer.model, workload, "test")
        recipe = {
            **workload.recipe.identity(),
            "version": RECIPE_VERSION,
            "seed": seed,
            "threads": threads,
            "steps": trainer.steps_done,
            "of_steps": trainer.total_steps,
            "half": half,
        }
        info = WeightsInfo(
            workload.name, workload.data_digest, recipe, workload.demo, dict(val.values), dict(test.values)
        )
        path = save_weights(trainer.model, home / "weights", info, half=half)
    return TrainResult(path, val, test, time.monotonic() - started)


def evaluate(model: torch.nn.Module, workload: Workload, split: SplitName) -> Quality:
    """The quality of the model on a split, through the workload's numpy pipeline."""
    import torch

    model.eval()

    def run(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            output: np.ndarray = model(laid_out(torch.from_numpy(batch))).float().numpy()
        return output

    def answer(case: Case) -> np.ndarray:
        sample = case.read()
        return predict(workload.pipeline, run, sample.image, sample.affine)

    return score(workload, split, [answer(case) for case in workload.splits[split]])


class _Trainer:
    """One training run: samples, model, optimizer, and the best weights so far."""

    def __init__(self, workload: Workload, seed: int, started: float, limit_s: float) -> None:
        import torch

        from autoopt.measure.target import LocalTarget

        self.workload, self.started, self.limit_s = workload, started, limit_s
        self.bf16 = trains_bf16(LocalTarget().host)
        self.random = np.random.default_rng(seed)
        recipe = workload.recipe
        cases = (*workload.splits.train, *workload.splits.calibration)
        tile = recipe.tile or workload.pipeline.tile
        self.examples = Examples(cases, workload.pipeline, recipe.augment, tile)
        if workload.build is None:
            raise WorkloadError(f"{workload.name} is a finished ONNX file: train the network that it came from")
        self.model: torch.nn.Module = laid_out(workload.build())
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self.steps_per_epoch = math.ceil(len(cases) * recipe.repeats / recipe.batch)
        self.total_steps = recipe.epochs * self.steps_per_epoch
        self.steps_done = 0
        self.factors = shrink_factors(recipe.epochs, tile) if recipe.coarse else [1] * recipe.epochs
        self.scored_at, self.scoring_s = -math.inf, 0.0
        self.work_left = self.work = self.steps_per_epoch * sum(self._work(factor) for factor in self.factors)
        self.best: tuple[Quality, dict[str, torch.Tensor]] | None = None

    def run(self, progress: Callable[[TrainProgress], None]) -> Quality:
        """Train; leave the model with the weights that were best on val, and return their quality there."""
        epochs, metric = self.workload.recipe.epochs, self.workload.metrics[0]
        for epoch, factor in enumerate(self.factors):
            losses: list[float] = []

            def tell(done: int, val: float | None = None, losses: list[float] = losses) -> None:
                best = None if self.best is None else self.best[0].value
                seconds = time.monotonic() - self.started
                progress(TrainProgress(done, epochs, float(np.mean(losses)), seconds, metric, val, best))

            for images, references in self._batches(factor):
                losses.append(self._step(images, references))
                tell(epoch)
            if losses:
                # A coarse net is not what will be deployed: its val score would cost time and say little.
                tell(epoch + 1, self._keep_best(last=epoch + 1 == epochs) if factor == 1 else None)
        if self.best is None:
            self._keep_best(last=True)
        assert self.best is not None
        self.model.load_state_dict(self.best[1])
        return evaluate(self.model, self.workload, "val")

    def _keep_best(self, *, last: bool) -> float | None:
        """Score val, unless it was just done: where scoring is slow, it must not take the time of the training."""
        began = time.monotonic()
        if not last and began - self.scored_at < SCORING_SHARE * self.scoring_s:
            return None
        primary = replace(self.workload, metrics=self.workload.metrics[:1])
        quality = evaluate(self.model, primary, "val")
        self.scored_at = time.monotonic()
        self.scoring_s = self.scored_at - began
        if self.best is None or quality.value > self.best[0].value:
            self.best = (quality, {name: item.detach().clone() for name, item in self.model.state_dict().items()})
        return quality.value

    def _step(self, images: torch.Tensor, references: torch.Tensor) -> float:
        import torch

        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = self.workload.recipe.learning_rate * rate_at(1 - self.work_left / self.work)
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            logits = self.model(images)
        loss = loss_of(logits.float(), references, self.workload.pipeline.activation == "sigmoid")
        value = loss.item()
        if not math.isfinite(value):
            raise Numeric(
                f"the loss of {self.workload.name} must stay finite, it is {value} at step {self.steps_done + 1}: "
                "lower the recipe's learning rate, check the images",
                stage="train",
            )
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        self.steps_done += 1
        return value

    def _batches(self, factor: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The batches of one epoch, less those that time forbids; the first cases fill up the last batch."""
        import torch

        batch, repeats = self.workload.recipe.batch, self.workload.recipe.repeats
        shuffled = np.concatenate([self.random.permutation(len(self.examples)) for _ in range(repeats)])
        order = np.resize(shuffled, self.steps_per_epoch * batch)
        for chosen in order.reshape(self.steps_per_epoch, batch):
            if not self._is_late():
                pairs = [self.examples.draw(int(index), factor, self.random) for index in chosen]
                images = torch.from_numpy(np.concatenate([image for image, _ in pairs]))
                references = torch.from_numpy(np.stack([reference for _, reference in pairs]).astype(np.int64))
                yield laid_out(images), references
            self.work_left -= self._work(factor)

    def _work(self, factor: int) -> float:
        """What a step at the resolution divided by `factor` costs, that of a full one being 1."""
        return float(factor) ** -len(self.workload.pipeline.tile)

    def _is_late(self) -> bool:
        time_left = 1 - (time.monotonic() - self.started) / self.limit_s
        return time_left <= 0 or self.work_left / self.work > time_left * (1 + SLACK)


def shrink_factors(epochs: int, tile: Sequence[int]) -> list[int]:
    """By what each epoch divides the resolution: from coarse to 1, with at least one epoch at 1."""
    factors: list[int] = []
    share = 0.0
    for factor, own_share in COARSE_SHARES.items():
        share += own_share  # where a tile is too small to be shrunk that much, the next size takes its epochs over
        if min(tile) // factor >= SMALLEST_COARSE_TILE:
            factors += [factor] * int(epochs * share)
            share = 0.0
    return [*factors, *[1] * (epochs - len(factors))]


@contextmanager
def _torch_state(seed: int, threads: int) -> Iterator[None]:
    """Seed and thread count of torch inside the block, as they were after it."""
    import torch

    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        try:
            torch.set_num_threads(threads)
            torch.manual_seed(seed)
            yield
        finally:
            torch.set_num_threads(before)

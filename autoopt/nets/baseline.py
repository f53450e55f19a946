"""The baseline: `autoopt train`, a short deterministic training on the CPU, at a low resolution first.

Trains on the train and calibration splits, chooses the best epoch on val, and scores test once at the end.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autoopt.core.scores import Quality
from autoopt.inference.pipeline import predict
from autoopt.inference.runtimes.shared import trains_bf16
from autoopt.measure.quality import score
from autoopt.nets import outputs
from autoopt.nets.batches import Examples
from autoopt.nets.trainer import Batch, Round, TimeLimit, Trainer, TrainerProgress, TrainerSettings
from autoopt.nets.training_step import as_tensors, channels_last
from autoopt.nets.weights import WeightsInfo, round_to_half, save_weights
from autoopt.workloads.contract import Case, SplitName, Workload

if TYPE_CHECKING:
    import torch

_log = logging.getLogger("autoopt")

RECIPE_VERSION = 3
"""Raised when this file trains differently; part of the recipe that the weights carry."""
LOW_RESOLUTION_SHARES = {4: 0.42, 2: 0.17}
"""Shares of the epochs on tiles with a quarter and with half of the resolution, before the full one: in 2D a
sixteenth and a quarter of the cost, and there is much to learn before fine detail matters."""
SMALLEST_TILE = 48
"""Smaller than this a tile tells a network with four poolings next to nothing."""
SCORING_SHARE = 8
"""Val is scored again when the training took this many times as long as the last scoring did."""


@dataclass(frozen=True)
class TrainProgress:
    """Where a training is: `epoch` of `epochs` done, the mean `loss` of the epoch so far, the `seconds` since it began.

    `val` is the primary metric (`metric`) on val where it was just scored, `best` the best so far.
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
    """The file of the weights, their quality on val (which chose them) and on test, and the wall seconds of it all."""

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

    The same seed and number of threads give the same weights, unless the host is too slow for `max_seconds` (or those
    of the recipe): then steps are left out all along, so that the training still goes through all resolutions and
    learning rates in time. With `half` the weights are rounded to float16 before they are scored and stored. Raises
    Numeric when the loss is not finite, WorkloadError for a finished graph.
    """
    from autoopt.measure.host import usable_cores

    started = time.monotonic()
    threads = threads or usable_cores()
    with _torch_state(seed, threads):
        epochs = _Epochs(workload, seed)
        trainer = Trainer(_built(workload), _settings(workload))
        limit_s = workload.recipe.max_seconds if max_seconds is None else max_seconds
        limit = TimeLimit(limit_s, started, skips=True)
        score_val = _ValScore(trainer.model, workload)
        trainer.run(epochs.rounds, epochs.batches, score_val, limit, _listener(workload, started, progress))
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
            "of_steps": epochs.steps,
            "half": half,
        }
        info = WeightsInfo(
            workload.name, workload.data_digest, recipe, workload.demo, dict(val.values), dict(test.values)
        )
        path = save_weights(trainer.model, home / "weights", info, half=half)
    return TrainResult(path, val, test, time.monotonic() - started)


def evaluate(model: torch.nn.Module, workload: Workload, split: SplitName) -> Quality:
    """The quality of the model on a split of the workload, through its numpy pipeline."""
    import torch

    model.eval()

    def run(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            output: np.ndarray = model(channels_last(torch.from_numpy(batch))).float().numpy()
        return output

    def answer(case: Case) -> np.ndarray:
        sample = case.read()
        return predict(workload.pipeline, run, sample.image, sample.affine)

    return score(workload, split, [answer(case) for case in workload.splits[split]])


def _built(workload: Workload) -> torch.nn.Module:
    """The network of the workload, with fresh weights; what is to be known of its answers is told."""
    model = outputs.build(workload)
    for remark in outputs.remarks(workload):
        _log.warning(remark)
    return model


def _settings(workload: Workload) -> TrainerSettings:
    from autoopt.measure.target import LocalTarget

    return TrainerSettings(
        name=workload.name,
        learning_rate=workload.recipe.learning_rate,
        weight_decay=workload.recipe.weight_decay,
        multilabel=workload.pipeline.activation == "sigmoid",
        advice="lower the recipe's learning rate, check the images",
        bf16=trains_bf16(LocalTarget().host),
        stage="train",
    )


def _listener(
    workload: Workload, started: float, progress: Callable[[TrainProgress], None] | None
) -> Callable[[TrainerProgress], None]:
    """What tells `progress` of a training in the words of a baseline."""
    epochs, metric = workload.recipe.epochs, workload.metrics[0]

    def tell(now: TrainerProgress) -> None:
        if progress is not None:
            seconds = time.monotonic() - started
            progress(TrainProgress(now.rounds, epochs, now.loss, seconds, metric, now.score, now.best))

    return tell


class _ValScore:
    """The primary metric on val; None where the last look is so near that it would take the time of the training."""

    def __init__(self, model: torch.nn.Module, workload: Workload) -> None:
        self._model = model
        self._primary = replace(workload, metrics=workload.metrics[:1])
        self._scored_at, self._took_s = -math.inf, 0.0

    def __call__(self, last: bool) -> float | None:
        began = time.monotonic()
        if not last and began - self._scored_at < SCORING_SHARE * self._took_s:
            return None
        quality = evaluate(self._model, self._primary, "val")
        self._scored_at = time.monotonic()
        self._took_s = self._scored_at - began
        return quality.value


class _Epochs:
    """The rounds of a baseline, one for each epoch, and their batches: all cases in a new order each time."""

    def __init__(self, workload: Workload, seed: int) -> None:
        recipe, cases = workload.recipe, (*workload.splits.train, *workload.splits.calibration)
        tile = recipe.tile or workload.pipeline.tile
        self._recipe = recipe
        self._random = np.random.default_rng(seed)
        self._examples = Examples(cases, workload.pipeline, recipe.augment, tile)
        self._steps = math.ceil(len(cases) * recipe.repeats / recipe.batch)
        factors = shrink_factors(recipe.epochs, tile) if recipe.coarse else [1] * recipe.epochs
        # A network at a low resolution is not what will be deployed: its score would cost time and say little.
        self.rounds = [
            Round(self._steps, factor, work=float(factor) ** -len(tile), scored=factor == 1) for factor in factors
        ]

    @property
    def steps(self) -> int:
        """The steps of all epochs."""
        return self._steps * len(self.rounds)

    def batches(self, epoch: Round) -> Iterator[Batch]:
        """The batches of one epoch; the first cases fill up the last one."""
        repeats = range(self._recipe.repeats)
        shuffled = np.concatenate([self._random.permutation(len(self._examples)) for _ in repeats])
        order = np.resize(shuffled, self._steps * self._recipe.batch)
        for chosen in order.reshape(self._steps, self._recipe.batch):
            pairs = [self._examples.draw(int(index), epoch.factor, self._random) for index in chosen]
            yield Batch(*as_tensors(pairs))


def shrink_factors(epochs: int, tile: Sequence[int]) -> list[int]:
    """By what each epoch divides the resolution, falling to 1; at least one epoch has 1."""
    factors: list[int] = []
    share = 0.0
    for factor, own_share in LOW_RESOLUTION_SHARES.items():
        share += own_share  # where a tile is too small to be shrunk that much, the next size takes its epochs over
        if min(tile) // factor >= SMALLEST_TILE:
            factors += [factor] * int(epochs * share)
            share = 0.0
    return [*factors, *[1] * (epochs - len(factors))]


@contextmanager
def _torch_state(seed: int, threads: int) -> Iterator[None]:
    """Seed torch and set its number of threads inside the block; restore both after it."""
    import torch

    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        try:
            torch.set_num_threads(threads)
            torch.manual_seed(seed)
            yield
        finally:
            torch.set_num_threads(before)

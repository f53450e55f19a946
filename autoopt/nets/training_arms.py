"""One training as it is studied: which arithmetic, weights and optimiser it has, and what it takes.

The arms are the five of Selvan, Schön and Dam 2023 as a processor has them, with bfloat16 in the place of float16, and
half weights alone.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from autoopt.core.memory import held_bytes
from autoopt.measure.target import LocalTarget, Target
from autoopt.measure.worker import peak_rss_bytes
from autoopt.nets import outputs
from autoopt.nets.baseline import evaluate, seeded
from autoopt.nets.epochs import Epochs
from autoopt.nets.optimizers import ADAMW, ADAMW_8BIT, state_bytes, tensor_bytes, why_not
from autoopt.nets.trainer import Batch, Round, TimeLimit, Trainer, TrainerProgress, TrainerSettings
from autoopt.nets.weights import WeightsInfo, save_weights
from autoopt.workloads.contract import Workload

RESET_PEAK = Path("/proc/self/clear_refs")
"""Writing 5 here makes Linux forget the most memory that this process held."""


@dataclass(frozen=True)
class Arm:
    """How a network is trained: `autocast` computes in bfloat16, `half` keeps the weights in it, too."""

    title: str
    autocast: bool = False
    half: bool = False
    optimizer: str = ADAMW


ARMS: Mapping[str, Arm] = {
    "fp32": Arm("FP32"),
    "bf16": Arm("BF16 autocast", autocast=True),
    "adam8": Arm("8-bit optimiser", optimizer=ADAMW_8BIT),
    "bf16-adam8": Arm("BF16 autocast, 8-bit optimiser", autocast=True, optimizer=ADAMW_8BIT),
    "half": Arm("half weights (bfloat16)", half=True),
    "half-adam8": Arm("half weights, 8-bit optimiser", half=True, optimizer=ADAMW_8BIT),
}
"""By name."""


@dataclass(frozen=True)
class Trained:
    """What a training took and gave.

    `train_s` are the seconds of `steps` - 1 steps, `setup_s` those of the first, in which libraries prepare and
    compile. `peak_bytes` is the most physical memory that the process held in the steps after the first, `added_bytes`
    how much more that is than before the network was built; `state_bytes` are weights, gradients and the state of the
    optimiser. `joules` are those of the whole host, None where it has no counter that can be read. `scores` are those
    on val by metric.
    """

    steps: int
    train_s: float
    setup_s: float
    added_bytes: int
    peak_bytes: int
    state_bytes: int
    joules: float | None
    scores: Mapping[str, float]
    weights: str


def why_skipped(arm: str) -> str:
    """Why nothing can be trained by this arm here; empty where it can."""
    return why_not(ARMS[arm].optimizer)


def train_arm(
    workload: Workload,
    arm: str,
    *,
    seed: int,
    steps: int | None,
    threads: int,
    folder: Path,
    target: Target | None = None,
) -> Trained:
    """Train the network of `workload` from fresh weights, all of the recipe or so many `steps` of it; see `Trained`.

    The weights go to `folder`, as float32, and so are they scored. Call it in a process of its own: the memory is that
    of the process. `target` tells the energy, by default this host. Raises Unsupported where the arm cannot run here,
    Numeric where the loss is not finite.
    """
    chosen = ARMS[arm]
    with seeded(seed, threads):
        _prepare(chosen, workload)
        before = _forget_peak()
        trainer = _trainer(chosen, workload)
        rounds = _rounds(workload, seed, steps)
        clock = _Clock()
        energy = (target or LocalTarget()).joules_from_now()
        trainer.run(rounds.rounds, rounds.batches, lambda last: None, TimeLimit(math.inf, 0.0), clock)
        joules, peak = energy(), peak_rss_bytes()
        assert trainer.optimizer is not None
        kept = state_bytes(trainer.optimizer) + 2 * sum(map(tensor_bytes, trainer.model.parameters()))
        model = trainer.model.float()
        scores = dict(evaluate(model, workload, "val").values)
        recipe = {**workload.recipe.identity(), "arm": arm, "seed": seed, "steps": trainer.steps_done}
        info = WeightsInfo(workload.name, workload.data_digest, recipe, workload.demo, scores)
        path = save_weights(model, folder, info)
    return Trained(
        steps=trainer.steps_done,
        train_s=clock.train_s,
        setup_s=clock.setup_s,
        added_bytes=max(0, peak - before),
        peak_bytes=peak,
        state_bytes=kept,
        joules=joules,
        scores=scores,
        weights=str(path),
    )


class _Clock:
    """A listener that tells the seconds of the first step from those of all others."""

    def __init__(self) -> None:
        self._began, self._first, self._last = time.monotonic(), 0.0, 0.0

    def __call__(self, now: TrainerProgress) -> None:
        if not self._first:
            _forget_peak()  # what compiling took is over
            self._first = time.monotonic()
        self._last = time.monotonic()

    @property
    def setup_s(self) -> float:
        """Up to the end of the first step."""
        return self._first - self._began

    @property
    def train_s(self) -> float:
        """From there to the end of the last."""
        return self._last - self._first


class _Steps:
    """So many steps of the batches of the epochs, each epoch a round; what is too much of the last is left out."""

    def __init__(self, epochs: Epochs, steps: int | None) -> None:
        left, self._epochs, self.rounds = epochs.steps if steps is None else steps, epochs, list[Round]()
        for item in itertools.cycle(epochs.rounds):
            if left <= 0:
                break
            self.rounds.append(replace(item, steps=min(left, item.steps)))
            left -= item.steps

    def batches(self, item: Round) -> Iterator[Batch]:
        """Those of an epoch."""
        return self._epochs.batches(item)


def _rounds(workload: Workload, seed: int, steps: int | None) -> _Steps:
    """At the full resolution from the first step on: the resolution is an axis of the study, not a means."""
    return _Steps(Epochs(replace(workload, recipe=replace(workload.recipe, coarse=False)), seed), steps)


def _trainer(arm: Arm, workload: Workload) -> Trainer:
    import torch

    model = outputs.build(workload)
    if arm.half:
        model = model.to(torch.bfloat16)
    settings = TrainerSettings(
        name=workload.name,
        learning_rate=workload.recipe.learning_rate,
        weight_decay=workload.recipe.weight_decay,
        activation=workload.pipeline.activation,
        advice="this arm diverges with the recipe's learning rate",
        bf16=arm.autocast,
        stage="train",
        optimizer=arm.optimizer,
    )
    return Trainer(model, settings)


def _prepare(arm: Arm, workload: Workload) -> None:
    """Load every library that the training needs, and read a case, so that neither counts as its memory."""
    import torch

    workload.splits.train[0].read()
    tiny: Any = torch.nn.Linear(2, 2)
    made = Trainer(tiny, TrainerSettings("", 1e-3, 0.0, "softmax", "", stage="train", optimizer=arm.optimizer))
    made.run(
        [Round(1, scored=False)],
        lambda item: iter([Batch(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))]),
        lambda last: None,
        TimeLimit(math.inf, 0.0),
    )
    outputs.build(workload)


def _forget_peak() -> int:
    """The physical memory that this process holds; the kernel is asked to count its most from here on."""
    with suppress(OSError):  # not Linux, or not allowed: then the most since the start counts
        RESET_PEAK.write_text("5")
    return held_bytes(os.getpid())

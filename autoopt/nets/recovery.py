"""Recovery: training a changed network to answer as the whole one does, which gives back most of what a cut lost.

The loss is the distance to the answers of the teacher and nothing else (knowledge distillation, Hinton et al. 2015): a
network that lost nothing has nothing to learn, and keeps its weights. The references are not looked at, unless the
training asks for them in the place of the teacher; calibration, val and test never are. Some training patients are held
out (holdout.py) and say which weights were best.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.nets import clipping
from autoopt.nets.fake_quantization import fake_quantized
from autoopt.nets.holdout import plain_batches, split
from autoopt.nets.norms import LEAST_BATCHES, renew_norms
from autoopt.nets.teacher_cache import cache_of, taught_by
from autoopt.nets.trainer import Batch, Round, TimeLimit, Trainer, TrainerSettings
from autoopt.nets.training_step import distance
from autoopt.nets.windows import window_of
from autoopt.workloads.contract import Workload

if TYPE_CHECKING:
    import torch

CHECKS = 5
"""How often the hold-out is looked at, over all steps. No look ends a training before its time: while the rate is high
nothing gets better, and most is gained when it falls."""
WEIGHT_DECAY = 1e-4
SEED = 0
EMBEDDING_STD = 0.02
WIDE = 16
"""Channels of the first convolution from which on a network is trained with channels last in memory: half of 32 trained
1.3 times as fast so, a quarter 0.83 times."""


@dataclass(frozen=True)
class Recovery:
    """How much to train: `steps` of `batch` tiles at `learning_rate`, the highest of the schedule.

    `bf16` trains in bfloat16, `qat` with fake quantization, and with `clip` the ranges of inputs are learnt too. After
    `seconds` it ends at the next look at the hold-out; with `skips` it leaves out steps all along instead.
    Without `distil` it learns from the references, as a network without a teacher does.
    """

    steps: int
    batch: int
    learning_rate: float
    bf16: bool = False
    qat: bool = False
    clip: bool = False
    seconds: float = math.inf
    distil: bool = True
    skips: bool = False


def recover(student: torch.nn.Module, teacher: torch.nn.Module, workload: Workload, plan: Recovery) -> dict[str, Any]:
    """Train `student` in place to answer as `teacher` does; it ends with the weights that were best on the hold-out.

    The report has the loss on the hold-out before and after, the steps done and asked for, the share of a tile's pixels
    that a step learns from, the held-out cases, the batch norms whose statistics were renewed, and the seconds. Raises
    Numeric when the loss is not finite, BadData for a case that cannot be read.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        report = Distiller(student, teacher, workload, plan).train()
    student.eval().requires_grad_(False)
    return report


class Distiller:
    """A student that learns from the cached answers of its teacher, and is scored on the hold-out."""

    def __init__(self, student: torch.nn.Module, teacher: torch.nn.Module, workload: Workload, plan: Recovery) -> None:
        self._began = time.monotonic()
        self._plan = plan
        learnt, self._held = split(workload.splits.train)
        self._random = np.random.default_rng(SEED)
        window = window_of((teacher, student.eval()), workload)
        self._cache = cache_of(teacher, learnt, workload, plan.bf16, window)
        self._pixels = math.prod(window) / math.prod(workload.recipe.tile or workload.pipeline.tile)
        student.requires_grad_(True)
        settings = TrainerSettings(
            name=workload.name,
            learning_rate=plan.learning_rate,
            weight_decay=WEIGHT_DECAY,
            activation=workload.pipeline.activation,
            advice="lower the learning rate of the step",
            bf16=plan.bf16,
            channels_last=_is_wide(student),
            fixed_norms=plan.qat,  # quantizers fold norms into the layers before them
        )
        self._trainer = Trainer(student, settings)
        self._holdout = [
            Batch(images, references, self._answers(teacher, images, workload.pipeline.mirror))
            for images, references in plain_batches(self._held, workload, plan.batch)
        ]

    def train(self) -> dict[str, Any]:
        """Renew the statistics of batch norms, train, and report."""
        trainer, plan = self._trainer, self._plan
        renewed, before = self._renew_norms()
        with fake_quantized(trainer.model) if plan.qat else nullcontext() as ranges:
            if ranges is not None:  # they come first, as a quantizer's do: one that only saw the hold-out loses nothing
                trainer.observe(itertools.islice(self._batches(), LEAST_BATCHES))
                if plan.clip:
                    ranges.learn()
                before = self._loss()
            trainer.keep(-before)
            trainer.run(
                _rounds(plan.steps),
                lambda item: self._batches(),
                lambda last: -self._loss(),
                TimeLimit(plan.seconds, self._began, plan.skips),
            )
        assert trainer.best is not None
        return {
            "steps": trainer.steps_done,
            "of_steps": plan.steps,
            "pixels": self._pixels,
            "held_out_cases": len(self._held),
            "loss_before": before,
            "loss_after": -trainer.best,
            "norms_renewed": renewed,
            **({"clipped_layers": len(clipping.specs(trainer.model))} if plan.clip else {}),
            "seconds": time.monotonic() - self._began,
        }

    def _batches(self) -> Iterator[Batch]:
        while True:
            numbers = self._random.integers(len(self._cache), size=self._plan.batch)
            yield self._cache.batch([int(number) for number in numbers], taught=self._plan.distil)

    def _answers(self, teacher: torch.nn.Module, images: torch.Tensor, mirror: tuple[int, ...]) -> torch.Tensor | None:
        return taught_by(teacher, images, self._plan.bf16, mirror) if self._plan.distil else None

    def _loss(self) -> float:
        return self._trainer.mean_loss(self._holdout)

    def _renew_norms(self) -> tuple[int, float]:
        """Make the statistics of batch norms anew, unless that is worse on the hold-out; of how many, and the loss.

        A network that was not cut may have seen far more in its training.
        """
        model = self._trainer.model
        before, kept = self._loss(), copy.deepcopy(model.state_dict())
        if renewed := renew_norms(model, (self._trainer.in_layout(batch.images) for batch in self._batches())):
            after = self._loss()
            if after < before or not math.isfinite(before):
                return renewed, after
            model.load_state_dict(kept)
        return 0, before


def _rounds(steps: int) -> list[Round]:
    """`steps` in `CHECKS` equal rounds, and what is left over in one more."""
    length = max(1, steps // CHECKS)
    rest = [Round(steps % length)] if steps % length else []
    return [Round(length)] * (steps // length) + rest


def _is_wide(model: torch.nn.Module) -> bool:
    """Whether it trains faster with channels last in memory: batch norms over few channels do not."""
    import torch

    kinds = (torch.nn.Conv2d, torch.nn.Conv3d)
    first = next((item for item in model.modules() if isinstance(item, kinds)), None)
    return first is None or first.out_channels >= WIDE


def begin_anew(model: torch.nn.Module) -> None:
    """Give all layers fresh random weights, the same each time: the control of what kept weights are worth."""
    import torch

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(SEED)
        for layer in model.modules():
            reset: Any = getattr(layer, "reset_parameters", None)
            if reset is not None:
                reset()
            else:  # embeddings, tokens and tables that a layer made itself
                for item in layer.parameters(recurse=False):
                    torch.nn.init.trunc_normal_(item, std=EMBEDDING_STD)


class OriginalAnswers:
    """What a network answers to some training tiles before it is changed, to see how far others are from it."""

    def __init__(self, model: torch.nn.Module, workload: Workload, tiles: int) -> None:
        import torch

        self._activation = workload.pipeline.activation
        cases = split(workload.splits.train)[0][:tiles]
        self._images = [images for images, _ in plain_batches(cases, workload)]
        with torch.no_grad():
            self._answers = [model(images) for images in self._images]

    def distance(self, model: torch.nn.Module) -> float:
        """The mean distance of the model's answers from those kept, measured as in a recovery."""
        import torch

        with torch.no_grad():
            pairs = zip(self._images, self._answers, strict=True)
            return float(
                np.mean([distance(model(images), answer, self._activation).item() for images, answer in pairs])
            )

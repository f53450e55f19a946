"""The baseline: `autoopt train`, a short deterministic training on the CPU, at a low resolution first.

Trains on the train and calibration splits, chooses the best epoch on val, and scores test once at the end. After every
epoch a checkpoint is written, from which the same command goes on after an interrupt.
"""

from __future__ import annotations

import logging
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.core.configuration import digest
from autoopt.core.scores import Quality
from autoopt.errors import Interrupted, Numeric, UsageError, WeightsError
from autoopt.inference.pipeline import predict
from autoopt.inference.runtimes.shared import trains_bf16
from autoopt.measure.quality import primary_sign, score
from autoopt.nets import outputs
from autoopt.nets.checkpoint import Checkpoint
from autoopt.nets.epochs import Epochs
from autoopt.nets.trainer import TimeLimit, Trainer, TrainerProgress, TrainerSettings
from autoopt.nets.training_step import CALLS_PER_EXAMPLE, channels_last
from autoopt.nets.weights import INTERRUPTED, WeightsInfo, left_out, round_to_half, save_weights
from autoopt.workloads.contract import Case, SplitName, Workload
from autoopt.workloads.identity import code_identity

if TYPE_CHECKING:
    import torch

_log = logging.getLogger("autoopt")

RECIPE_VERSION = 4
"""Raised when this file trains differently; part of the recipe that the weights carry."""
SCORING_SHARE = 8
"""Val is scored again when the training computed this many times as much as the last scoring did. It is counted in
calls of the network, not in time: a busy host chooses the same epoch."""
LIBRARIES = ("torch", "numpy", "monai")
"""The libraries whose versions decide what a training computes."""
ADDRESS = r" at 0x[0-9a-f]+"
"""What the text of an object has that differs in every process."""
RANDOM = "random.torch"
"""What the random state of torch is called among the tensors of a checkpoint."""


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
    """The file of the weights, their quality on val (which chose them) and on test, and the wall seconds of it all.

    `seconds` counts what was trained before an interrupt too. `left_out` says what of the recipe was not done, and is
    empty where all was.
    """

    path: Path
    val: Quality
    test: Quality
    seconds: float
    left_out: str = ""


def train(
    workload: Workload,
    home: Path,
    *,
    progress: Callable[[TrainProgress], None] | None = None,
    seed: int = 0,
    threads: int | None = None,
    max_seconds: float | None = None,
    half: bool = False,
    on_remark: Callable[[str], None] = lambda remark: None,
) -> TrainResult:
    """Train the workload's model by its recipe and store the weights in `home`/weights.

    The recipe is done to its end: the same seed and number of threads give the same weights on a busy host too, and
    after an interrupt, when the next call goes on from the last epoch. Only where `max_seconds` are too few, steps are
    left out all along, so that the training still goes through all resolutions and learning rates in time; the result
    and the weights say so. With `half` the weights are rounded to float16 before they are scored and stored.
    `on_remark` is told in a sentence from where the training goes on. Raises Numeric when the loss is not finite,
    WorkloadError for a finished graph, UsageError for a time that is none, and Interrupted, a KeyboardInterrupt that
    says what is kept.
    """
    from autoopt.measure.host import usable_cores

    if max_seconds is not None and not max_seconds > 0:
        raise UsageError(f"--time must be longer than nothing, got {max_seconds:g} s")
    began = time.monotonic()
    threads = threads or usable_cores()
    with seeded(seed, threads):
        recipe = {**workload.recipe.identity(), "version": RECIPE_VERSION, "seed": seed, "threads": threads}
        training = _Training(workload, home / "weights", recipe, max_seconds)
        try:
            began -= training.resume(on_remark)
            training.run(began, progress)
            if half:
                round_to_half(training.model)
            val = evaluate(training.model, workload, "val")
            test = evaluate(training.model, workload, "test")
        except KeyboardInterrupt as interrupt:
            raise Interrupted(training.kept()) from interrupt
        path = training.store(val.values, test.values, half=half)
    return TrainResult(path, val, test, time.monotonic() - began, left_out(training.recipe))


class _Training:
    """One training with its checkpoint: begins or goes on, and stores the weights that it has."""

    def __init__(self, workload: Workload, folder: Path, recipe: Mapping[str, Any], max_seconds: float | None) -> None:
        settings = _settings(workload)
        self._workload, self._folder, self._recipe = workload, folder, recipe
        self._epochs = Epochs(workload, recipe["seed"])
        self._trainer = Trainer(_built(workload), settings)
        self._looks = _Looks(self._trainer.model, workload, self._epochs)
        self._limit_s, self._began, self._stored = max_seconds, time.monotonic(), 0
        made_by = _made_by(self._trainer.model, workload, recipe)
        made_by |= {"time": max_seconds, "arithmetic": "bfloat16" if settings.bf16 else "float32"}
        self._checkpoint = Checkpoint(folder, workload.name, made_by)

    @property
    def model(self) -> torch.nn.Module:
        """The network that is trained."""
        return self._trainer.model

    @property
    def recipe(self) -> dict[str, Any]:
        """What the weights say of how they were made."""
        return {**self._recipe, "steps": self._trainer.steps_done, "of_steps": self._epochs.steps}

    def resume(self, on_remark: Callable[[str], None]) -> float:
        """Go on from the checkpoint, if there is one; the seconds that were trained before it."""
        import torch

        try:
            found = self._checkpoint.read()
            if found is not None:
                self._trainer.restore(found[0])
        except (WeightsError, ValueError) as error:
            on_remark(f"{error}: the training begins anew")
            return 0.0
        if found is None:
            for path, names in self._checkpoint.others().items():
                on_remark(f"{path} has an interrupted training of other {', '.join(names)}: it is not continued")
            return 0.0
        state, facts = found
        self._stored = state.rounds
        self._epochs.restore(facts["epochs"])
        self._looks.restore(facts["looks"])
        torch.set_rng_state(state.tensors[RANDOM])
        on_remark(f"the training that was interrupted goes on after {self._place}")
        return float(facts["seconds"])

    def run(self, began: float, progress: Callable[[TrainProgress], None] | None) -> None:
        """Train to the end of the recipe, with a checkpoint after every epoch; the model has the best weights then."""
        self._began = began
        limit = TimeLimit(math.inf if self._limit_s is None else self._limit_s, began, skips=True)
        listener = _listener(self._workload, began, progress)
        try:
            self._trainer.run(self._epochs.rounds, self._epochs.batches, self._looks, limit, listener, self._pause)
        except Numeric:
            self._checkpoint.remove()  # from there it would come to the same end
            raise

    def store(self, val: Mapping[str, float], test: Mapping[str, float], *, half: bool) -> Path:
        """Store the weights of the model as those of the whole training, which needs no checkpoint any more."""
        path = self._save({**self.recipe, "half": half}, val, test, half=half)
        self._checkpoint.remove()
        return path

    def kept(self) -> str:
        """Store the best weights so far, and say what is kept of a training that is interrupted here."""
        told, title, score = [], self._workload.title, self._trainer.take_best()
        if score is not None:
            metric = self._workload.metrics[0]
            score *= primary_sign(self._workload)
            path = self._save({**self.recipe, "half": False, INTERRUPTED: True}, {metric: score}, {})
            told.append(f"the best weights so far ({metric} {score:.4f} on val of {title}) are in {path}")
        elif self._stored:
            told.append("no epoch was scored yet")
        again = f"continues after {self._place}" if self._stored else "begins anew, no epoch was finished"
        return "; ".join([*told, f"the same command {again}"])

    @property
    def _place(self) -> str:
        return f"epoch {self._stored} of {len(self._epochs.rounds)}"

    def _pause(self) -> None:
        """Write the checkpoint."""
        import torch

        state, seconds = self._trainer.state(), time.monotonic() - self._began
        tensors = {**state.tensors, RANDOM: torch.get_rng_state()}
        facts = {"epochs": self._epochs.facts(), "looks": self._looks.facts(), "seconds": seconds}
        self._checkpoint.write(replace(state, tensors=tensors), facts)
        self._stored = state.rounds

    def _save(
        self, recipe: Mapping[str, Any], val: Mapping[str, float], test: Mapping[str, float], *, half: bool = False
    ) -> Path:
        workload = self._workload
        info = WeightsInfo(workload.name, workload.data_digest, recipe, workload.demo, dict(val), dict(test))
        return save_weights(self._trainer.model, self._folder, info, half=half)


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
        activation=workload.pipeline.activation,
        advice="lower the recipe's learning rate, check the images",
        bf16=trains_bf16(LocalTarget().host),
        stage="train",
    )


def _listener(
    workload: Workload, started: float, progress: Callable[[TrainProgress], None] | None
) -> Callable[[TrainerProgress], None]:
    """What tells `progress` of a training in the words of a baseline."""
    epochs, metric, sign = workload.recipe.epochs, workload.metrics[0], primary_sign(workload)

    def tell(now: TrainerProgress) -> None:
        if progress is not None:
            seconds = time.monotonic() - started
            score, best = (None if worth is None else sign * worth for worth in (now.score, now.best))
            progress(TrainProgress(now.rounds, epochs, now.loss, seconds, metric, score, best))

    return tell


class _Looks:
    """How good the network is on val: the primary metric, its sign turned where less is better (`Quality.worth`).

    None where the last look is so near that it would cost as much as the training.
    """

    def __init__(self, model: torch.nn.Module, workload: Workload, epochs: Epochs) -> None:
        self._model, self._epochs = model, epochs
        self._primary = replace(workload, metrics=workload.metrics[:1])
        self._next_at = 0.0

    def __call__(self, last: bool) -> float | None:
        learnt, seen = self._epochs.learnt, 0
        if not last and learnt < self._next_at:
            return None

        def count(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            nonlocal seen
            seen += inputs[0].numel()

        counting = self._model.register_forward_pre_hook(count)
        try:
            quality = evaluate(self._model, self._primary, "val")
        finally:
            counting.remove()
        self._next_at = learnt + SCORING_SHARE * seen / CALLS_PER_EXAMPLE
        return quality.worth

    def facts(self) -> dict[str, float]:
        """What `restore` goes on from."""
        return {"next_at": self._next_at}

    def restore(self, facts: Mapping[str, float]) -> None:
        """Go on from what `facts` said."""
        self._next_at = facts["next_at"]


def _made_by(model: torch.nn.Module, workload: Workload, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides what a training computes: a checkpoint of something else is not continued."""
    from autoopt import __version__
    from autoopt.measure.host import library_versions

    assert workload.build is not None
    metric = workload.metrics[0]
    code = code_identity(workload.build)
    shapes = {name: list(value.shape) for name, value in model.state_dict().items()}
    described = re.sub(ADDRESS, "", repr(model))
    return {
        "workload": workload.name,
        "data": workload.data_digest,
        "network": digest([described, shapes, code["code"] if isinstance(code, dict) else code]),
        "pipeline": digest(workload.pipeline.to_json()),
        "metric": next((item.identity() for item in workload.own_metrics if item.name == metric), metric),
        "recipe": {name: value for name, value in recipe.items() if name not in ("seed", "threads")},
        "seed": recipe["seed"],
        "threads": recipe["threads"],
        "versions": {"autoopt": __version__, **library_versions(LIBRARIES)},
    }


@contextmanager
def seeded(seed: int, threads: int) -> Iterator[None]:
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

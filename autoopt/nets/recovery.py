"""Training a smaller network to answer as the whole one did: what a cut loses, a short distillation gives back.

The loss is that of the training plus the distance to the teacher's answer (Hinton et al. 2015). A part of the training
patients is held out: it says which weights were best; calibration, val and test are not looked at.
"""

from __future__ import annotations

import copy
import itertools
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from autoopt.errors import Numeric
from autoopt.nets.batches import Examples
from autoopt.nets.fake_quantization import as_integers
from autoopt.nets.teacher_cache import answer, views_of
from autoopt.nets.training_step import laid_out, loss_of, rate_at
from autoopt.workloads.contract import Case, Workload

if TYPE_CHECKING:
    import torch

HELD_OUT = 0.15
"""The share of the training patients that a recovery does not learn from."""
HELD_OUT_CASES = 40
"""At most so many cases are looked at, each time: with 12 the wrong weights were kept (docs/benchmarks.md)."""
CHECKS = 5
"""How often the hold-out is looked at, over all steps. No look ends a training before its time: while the rate is high
nothing gets better, and most is gained when it falls."""
TEMPERATURE = 2.0
NORM_BATCHES, MOST_NORM_BATCHES = 12, 64
NORM_VALUES = 8192
"""What each channel of a batch norm is given at least for its statistics. An EfficientNet with an accuracy of 0.992 had
0.913 with 800 (48 images, whose last maps are 4 x 4), 0.921 with 3000, 0.984 with 11000."""
LARGEST_GRADIENT = 5.0
SEED = 0
EMBEDDING_STD = 0.02
WIDE = 16
"""Channels of the first convolution. Half of 32 trained 1.3 times as fast with channels last, a quarter 0.83 times."""

Batch = tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]
"""Images, references, and what the teacher answers."""


@dataclass(frozen=True)
class Recovery:
    """How much to train: `steps` of `batch` views, in bfloat16 or not, as if integers computed or not.

    Once it took `seconds`, it ends at the next look at the hold-out.
    """

    steps: int
    batch: int
    learning_rate: float
    bf16: bool = False
    as_integers: bool = False
    seconds: float = math.inf


def recover(student: torch.nn.Module, teacher: torch.nn.Module, workload: Workload, plan: Recovery) -> dict[str, Any]:
    """Train `student` in place to answer as `teacher` does; it ends with the weights that were best on the hold-out.

    The running statistics of batch norms are made anew first, and kept unless they are worse on the hold-out; as
    integers are trained with norms that are fixed then, as they compute with them. The report has the losses on the
    hold-out before and after the training, and the steps. Raises Numeric when the loss is not finite, BadData for a
    case that cannot be read.
    """
    import torch

    began = time.monotonic()
    learnt, held = parted(workload.splits.train)
    random = np.random.default_rng(SEED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        views = views_of(teacher, learnt, workload, plan.bf16)

        def batches() -> Iterator[Batch]:
            while True:
                yield views.batch([int(number) for number in random.integers(len(views), size=plan.batch)])

        school = _School(student, workload, plan.bf16, fixed_norms=plan.as_integers)
        looked_at = [(*pair, answer(teacher, pair[0], plan.bf16)) for pair in exam(held, workload, plan.batch)]
        renewed, first = school.renew_norms(batches(), looked_at)
        with as_integers(student) if plan.as_integers else nullcontext():
            if plan.as_integers:  # ranges come first, as a quantizer's do: one that only saw the hold-out loses nothing
                school.look(itertools.islice(batches(), NORM_BATCHES))
                first = school.loss(looked_at)
            best, kept, done = first, copy.deepcopy(student.state_dict()), 0
            optimizer = torch.optim.AdamW(_trained(student), lr=plan.learning_rate, weight_decay=1e-4)
            for done, batch in enumerate(itertools.islice(batches(), plan.steps), start=1):
                for group in optimizer.param_groups:
                    group["lr"] = plan.learning_rate * rate_at((done - 1) / plan.steps)
                school.step(optimizer, batch)
                if done % max(1, plan.steps // CHECKS) == 0 or done == plan.steps:
                    now, late = school.loss(looked_at), time.monotonic() - began > plan.seconds
                    if now < best:
                        best, kept = now, copy.deepcopy(student.state_dict())
                    if late:
                        break
            student.load_state_dict(kept)
    student.eval().requires_grad_(False)
    return {
        "steps": done,
        "of_steps": plan.steps,
        "held_out_cases": len(held),
        "loss_before": first,
        "loss_after": best,
        "norms_renewed": renewed,
        "seconds": time.monotonic() - began,
    }


def parted(cases: Sequence[Case]) -> tuple[list[Case], list[Case]]:
    """The cases to learn from and those held out: whole patients, the same each time. A single patient's are parted."""
    names = sorted({case.group for case in cases})
    alone = len(names) == 1
    if alone:
        names = sorted(case.id for case in cases)
    order = np.random.default_rng(SEED).permutation(len(names))
    count = min(max(1, round(HELD_OUT * len(names))), len(names) - 1)
    chosen = {names[index] for index in order[:count]}
    held = [case for case in cases if (case.id if alone else case.group) in chosen]
    learnt = [case for case in cases if (case.id if alone else case.group) not in chosen]
    return learnt, held[:HELD_OUT_CASES] or learnt[:HELD_OUT_CASES]


def renew_norms(model: torch.nn.Module, batches: Iterable[torch.Tensor]) -> int:
    """Let batch norms take the statistics of as many of these batches as they need; how many norms there are.

    Without any, no batch is drawn.
    """
    import torch

    norms = _norms(model)
    if not norms:
        return 0
    fewest = [math.inf]

    def count(norm: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        fewest[0] = min(fewest[0], inputs[0].numel() / inputs[0].shape[1])

    momenta = [norm.momentum for norm in norms]
    hooks = [norm.register_forward_pre_hook(count) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
        norm.train()
    with torch.no_grad():
        for done, batch in enumerate(batches, start=1):
            model(batch)
            if done >= min(MOST_NORM_BATCHES, max(NORM_BATCHES, NORM_VALUES / fewest[0])):
                break
    for hook in hooks:
        hook.remove()
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
    return len(norms)


def _norms(model: torch.nn.Module) -> list[torch.nn.modules.batchnorm._BatchNorm]:
    """The batch norms that keep running statistics."""
    import torch

    kind = torch.nn.modules.batchnorm._BatchNorm
    return [item for item in model.modules() if isinstance(item, kind) and item.track_running_stats]


class _School:
    """A student, and how far it is from its teacher and from the references."""

    def __init__(self, student: torch.nn.Module, workload: Workload, bf16: bool, *, fixed_norms: bool = False) -> None:
        self._fixed_norms = fixed_norms
        self.wide = _is_wide(student)
        self.student = laid_out(student) if self.wide else student
        self.bf16, self.name = bf16, workload.name
        self.multilabel = workload.pipeline.activation == "sigmoid"
        student.requires_grad_(True)

    def laid(self, images: torch.Tensor) -> torch.Tensor:
        """The images as the student computes fastest."""
        laid: torch.Tensor = laid_out(images) if self.wide else images.contiguous()
        return laid

    def renew_norms(self, batches: Iterable[Batch], exam: Sequence[Batch]) -> tuple[int, float]:
        """Make the statistics of batch norms anew, unless that is worse in the exam; of how many, and its loss.

        A network that was not cut may have seen far more in its training.
        """
        before, kept = self.loss(exam), copy.deepcopy(self.student.state_dict())
        if renewed := renew_norms(self.student, (self.laid(images) for images, _, _ in batches)):
            after = self.loss(exam)
            if after < before or not math.isfinite(before):
                return renewed, after
            self.student.load_state_dict(kept)
        return 0, before

    def step(self, optimizer: torch.optim.Optimizer, batch: Batch) -> None:
        """One step on a batch."""
        import torch

        self.student.train()
        if self._fixed_norms:
            for norm in _norms(self.student):
                norm.eval()
        optimizer.zero_grad()
        loss = self._loss(*batch)
        if not math.isfinite(loss.item()):
            raise Numeric(
                f"the loss of {self.name} must stay finite while it is recovered: lower the learning rate of the step"
            )
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), LARGEST_GRADIENT)
        optimizer.step()

    def look(self, batches: Iterable[Batch]) -> None:
        """Answer them, for what watches the network."""
        import torch

        self.student.eval()
        with torch.no_grad():
            for images, _, _ in batches:
                self._logits(images)

    def loss(self, exam: Sequence[Batch]) -> float:
        """The mean loss over the batches of an exam, as the network will be used."""
        import torch

        self.student.eval()
        with torch.no_grad():
            return float(np.mean([self._loss(*batch).item() for batch in exam]))

    def _loss(self, images: torch.Tensor, references: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        logits = self._logits(images)
        return loss_of(logits, references, self.multilabel) + distance(logits, wanted, self.multilabel)

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        import torch

        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            logits: torch.Tensor = self.student(self.laid(images))
        return logits.float()


def _is_wide(model: torch.nn.Module) -> bool:
    """Whether it computes faster with its channels last: batch norms over few channels do not."""
    import torch

    kinds = (torch.nn.Conv2d, torch.nn.Conv3d)
    first = next((item for item in model.modules() if isinstance(item, kinds)), None)
    return first is None or first.out_channels >= WIDE


def begin_anew(model: torch.nn.Module) -> None:
    """Give all layers the weights that a new network of these sizes would have, the same each time."""
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


def gradients(model: torch.nn.Module, workload: Workload, tiles: int) -> dict[str, torch.Tensor]:
    """The gradient of the training loss for every weight, summed over training tiles."""
    model.requires_grad_(True)
    model.zero_grad()
    multilabel = workload.pipeline.activation == "sigmoid"
    for images, references in exam(parted(workload.splits.train)[0][:tiles], workload):
        loss_of(model(images).float(), references, multilabel).backward()  # type: ignore[no-untyped-call]
    found = {name: item.grad.detach() for name, item in model.named_parameters() if item.grad is not None}
    model.zero_grad(set_to_none=True)
    model.requires_grad_(False)
    return found


class Answers:
    """What a network answers to some training tiles, to see how far others are from it."""

    def __init__(self, model: torch.nn.Module, workload: Workload, tiles: int) -> None:
        import torch

        self._multilabel = workload.pipeline.activation == "sigmoid"
        self._images = [images for images, _ in exam(parted(workload.splits.train)[0][:tiles], workload)]
        with torch.no_grad():
            self._wanted = [model(images) for images in self._images]

    def distance(self, model: torch.nn.Module) -> float:
        """The mean distance of its answers from those kept, as a recovery measures it."""
        import torch

        with torch.no_grad():
            pairs = zip(self._images, self._wanted, strict=True)
            return float(
                np.mean([distance(model(images), wanted, self._multilabel).item() for images, wanted in pairs])
            )


def distance(logits: torch.Tensor, wanted: torch.Tensor, multilabel: bool) -> torch.Tensor:
    """How far answers are from those of the teacher: Kullback-Leibler at `TEMPERATURE`, mean over pixels and images."""
    import torch

    functions = torch.nn.functional
    if multilabel:
        probabilities = torch.sigmoid(wanted / TEMPERATURE)
        cross = functions.binary_cross_entropy_with_logits(logits / TEMPERATURE, probabilities)
        own = functions.binary_cross_entropy(probabilities, probabilities)
        return (cross - own) * TEMPERATURE**2
    student = functions.log_softmax(logits / TEMPERATURE, dim=1)
    teacher = functions.log_softmax(wanted / TEMPERATURE, dim=1)
    far = functions.kl_div(student, teacher, reduction="none", log_target=True).sum(dim=1)
    return far.mean() * TEMPERATURE**2


def _tile(workload: Workload) -> tuple[int, ...]:
    return workload.recipe.tile or workload.pipeline.tile


def _trained(model: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [item for item in model.parameters() if item.requires_grad]


def exam(cases: Sequence[Case], workload: Workload, batch: int = 1) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """A tile of each held-out case, as it is, so many at once."""
    examples = Examples(cases, workload.pipeline, None, _tile(workload))
    random = np.random.default_rng(SEED)
    tiles = [examples.draw(index, 1, random) for index in range(len(cases))]
    return [_tensors(tiles[begin : begin + batch]) for begin in range(0, len(tiles), batch)]


def _tensors(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    images = torch.from_numpy(np.concatenate([image for image, _ in pairs]))
    references = torch.from_numpy(np.stack([reference for _, reference in pairs]).astype(np.int64))
    return laid_out(images), references

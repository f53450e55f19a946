"""Training tiles with a teacher's answers to them, each made once: all rungs of a ladder learn from the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

import numpy as np

from autoopt.nets.batches import Examples
from autoopt.nets.training_step import laid_out
from autoopt.workloads.contract import Case, Workload

if TYPE_CHECKING:
    import torch

MOST = 2048
KEPT_BYTES = 768_000_000
"""So many views at most, and fewer of large tiles: asking the teacher costs more than a step of a pruned network."""
SEED = 0

_KEPT: WeakKeyDictionary[torch.nn.Module, dict[bool, Views]] = WeakKeyDictionary()


def views_of(teacher: torch.nn.Module, cases: Sequence[Case], workload: Workload, bf16: bool) -> Views:
    """The views of these training cases that `teacher` answers; they live as long as it does."""
    known = _KEPT.setdefault(teacher, {})
    if bf16 not in known:
        known[bf16] = Views(teacher, cases, workload, bf16)
    return known[bf16]


class Views:
    """Augmented tiles by number. One is drawn, and the teacher asked, when it is first wanted.

    What a number stands for depends on nothing else, so that a rung made today and one made after a restart learn
    from the same.
    """

    def __init__(self, teacher: torch.nn.Module, cases: Sequence[Case], workload: Workload, bf16: bool) -> None:
        self._teacher, self._bf16 = ref(laid_out(teacher)), bf16  # else it would keep its own key alive
        tile = workload.recipe.tile or workload.pipeline.tile
        self._examples = Examples(cases, workload.pipeline, workload.recipe.augment, tile)
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}
        size = sum(item.numel() * item.element_size() for item in self._view(0))
        self._count = max(1, min(MOST, KEPT_BYTES // size))

    def __len__(self) -> int:
        return self._count

    def batch(self, numbers: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images and the teacher's answers (float32), and references (integers), of the views with these numbers."""
        import torch

        images, references, wanted = (torch.cat(items) for items in zip(*map(self._view, numbers), strict=True))
        return images.float(), references.long(), wanted.float()

    def _view(self, number: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Half the bytes of float32 are enough: what is left out is far below the noise of the augmentation."""
        import torch

        if number not in self._kept:
            teacher = self._teacher()
            assert teacher is not None
            random = np.random.default_rng([SEED, number])
            image, reference = self._examples.draw(number % len(self._examples), 1, random)
            images = torch.from_numpy(np.ascontiguousarray(image))
            self._kept[number] = (
                images.half(),
                torch.from_numpy(np.stack([reference]).astype(np.int16)),
                answer(teacher, images, self._bf16).half(),
            )
        return self._kept[number]


def answer(model: torch.nn.Module, images: torch.Tensor, bf16: bool) -> torch.Tensor:
    """What a network answers, in float32."""
    import torch

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        found: torch.Tensor = model(laid_out(images))
    return found.float()

"""Training tiles with a teacher's answers to them, each made once, for all trainings that have this teacher."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

import numpy as np

from autoopt.inference.blending import mirrors
from autoopt.nets.batches import Examples
from autoopt.nets.trainer import Batch
from autoopt.nets.training_step import channels_last
from autoopt.workloads.contract import Case, Workload

if TYPE_CHECKING:
    import torch

MOST_TILES = 2048
"""The tiles of a cache: asking the teacher costs more than a step of a pruned network."""
CACHED_BYTES = 768_000_000
"""What the tiles of a cache may take in memory: of large tiles there are fewer."""
SEED = 0
FIRST_SPATIAL = 2
"""The first spatial axis of a batch (n, channels, *spatial)."""

_CACHES: WeakKeyDictionary[torch.nn.Module, dict[tuple[bool, tuple[int, ...]], TeacherCache]] = WeakKeyDictionary()


def cache_of(
    teacher: torch.nn.Module, cases: Sequence[Case], workload: Workload, bf16: bool, window: tuple[int, ...]
) -> TeacherCache:
    """The cache of this teacher for these training cases, of tiles of the sizes `window`.

    It lives as long as the teacher does.
    """
    known = _CACHES.setdefault(teacher, {})
    if (bf16, window) not in known:
        known[bf16, window] = TeacherCache(teacher, cases, workload, bf16, window)
    return known[bf16, window]


class TeacherCache:
    """Augmented tiles by number; one is drawn, and the teacher asked, when it is first wanted.

    What a number stands for depends on nothing else, so that a network trained now and one trained after a restart
    learn from the same tiles. They are cut to the sizes `window`, by default to the tile of the recipe. `len` is how
    many numbers there are; `most_bytes` is what all tiles may take in memory.
    """

    def __init__(
        self,
        teacher: torch.nn.Module,
        cases: Sequence[Case],
        workload: Workload,
        bf16: bool,
        window: tuple[int, ...] | None = None,
        *,
        most_bytes: int = CACHED_BYTES,
    ) -> None:
        self._teacher, self._bf16 = ref(channels_last(teacher)), bf16  # else it would keep its own key alive
        self._mirror = workload.pipeline.mirror
        self._examples = Examples(cases, workload.pipeline, workload.recipe.augment, window or workload.recipe.tile)
        self._kept: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._taught: dict[int, torch.Tensor] = {}
        size = sum(item.numel() * item.element_size() for item in (*self._tile(0), self._answer(0)))
        self._count = max(1, min(MOST_TILES, most_bytes // size))

    def __len__(self) -> int:
        return self._count

    def batch(self, numbers: Sequence[int], *, taught: bool = True) -> Batch:
        """The tiles with these numbers as one batch, with the teacher's answers where they are to be `taught`."""
        import torch

        images, references = (torch.cat(items) for items in zip(*map(self._tile, numbers), strict=True))
        answers = torch.cat([self._answer(number) for number in numbers]).float() if taught else None
        return Batch(images.float(), references if references.is_floating_point() else references.long(), answers)

    def _tile(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Half the bytes of float32 are enough: what is left out is far below the noise of the augmentation."""
        import torch

        if number not in self._kept:
            random = np.random.default_rng([SEED, number])
            image, reference = self._examples.draw(number % len(self._examples), 1, random)
            known = np.stack([reference])
            self._kept[number] = (
                torch.from_numpy(np.ascontiguousarray(image)).half(),
                torch.from_numpy(known.astype(np.float32 if known.dtype.kind == "f" else np.int16)),
            )
        return self._kept[number]

    def _answer(self, number: int) -> torch.Tensor:
        if number not in self._taught:
            teacher = self._teacher()
            assert teacher is not None
            images = self._tile(number)[0].float()
            self._taught[number] = taught_by(teacher, images, self._bf16, self._mirror).half()
        return self._taught[number]


def taught_by(teacher: torch.nn.Module, images: torch.Tensor, bf16: bool, mirror: tuple[int, ...]) -> torch.Tensor:
    """What a teacher answers to images in float32: the mean over calls mirrored along all combinations of `mirror`.

    So a student learns in one call what the teacher says in many, where the pipeline mirrors its calls.
    """
    import torch

    total = torch.zeros(())
    for axes in mirrors(mirror):
        dims = [axis + FIRST_SPATIAL for axis in axes]
        found = logits_of(teacher, torch.flip(images, dims), bf16)
        total = total + (torch.flip(found, dims) if found.ndim > FIRST_SPATIAL else found)
    return total / len(mirrors(mirror))


def logits_of(model: torch.nn.Module, images: torch.Tensor, bf16: bool) -> torch.Tensor:
    """What a network answers to images, in float32, computed in bfloat16 or not."""
    import torch

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        found: torch.Tensor = model(channels_last(images))
    return found.float()

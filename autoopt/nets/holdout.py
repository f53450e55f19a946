"""The hold-out of a recovery: which training cases it does not learn from, and tiles of cases as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from autoopt.nets.batches import Examples
from autoopt.nets.training_step import as_tensors
from autoopt.workloads.contract import Case, Workload

if TYPE_CHECKING:
    import torch

SHARE = 0.15
"""The share of the training patients that is held out."""
MOST_CASES = 40
"""At most so many cases are held out: each look goes through all. With 12 the wrong weights were kept
(docs/benchmarks.md)."""
SEED = 0


def split(cases: Sequence[Case]) -> tuple[list[Case], list[Case]]:
    """The cases to learn from and those held out, the same each time.

    Patients are held out whole; where there is only one, its cases are split.
    """
    names = sorted({case.group for case in cases})
    alone = len(names) == 1
    if alone:
        names = sorted(case.id for case in cases)
    order = np.random.default_rng(SEED).permutation(len(names))
    count = min(max(1, round(SHARE * len(names))), len(names) - 1)
    chosen = {names[index] for index in order[:count]}
    held = [case for case in cases if (case.id if alone else case.group) in chosen]
    learnt = [case for case in cases if (case.id if alone else case.group) not in chosen]
    return learnt, held[:MOST_CASES] or learnt[:MOST_CASES]


def plain_batches(cases: Sequence[Case], workload: Workload, batch: int = 1) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """One tile of each case without augmentation, in order, `batch` at a time.

    Images are float32 (n, channels, *tile), references integers (n, *tile), (n, *tile, labels) or (n,), of a
    regression float32 (n, labels).
    """
    examples = Examples(cases, workload.pipeline, None, workload.recipe.tile)
    random = np.random.default_rng(SEED)
    pairs = [examples.draw(index, 1, random) for index in range(len(cases))]
    return [as_tensors(pairs[begin : begin + batch]) for begin in range(0, len(pairs), batch)]

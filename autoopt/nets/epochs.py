"""The epochs of a baseline and their batches: at a low resolution first, all cases in a new order each time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from autoopt.nets.batches import Examples
from autoopt.nets.trainer import Batch, Round
from autoopt.nets.training_step import as_tensors
from autoopt.workloads.contract import Workload

LOW_RESOLUTION_SHARES = {4: 0.42, 2: 0.17}
"""Shares of the epochs on tiles with a quarter and with half of the resolution, before the full one: in 2D a
sixteenth and a quarter of the cost, and there is much to learn before fine detail matters."""
SMALLEST_TILE = 48
"""Smaller than this a tile tells a network with four poolings next to nothing."""


class Epochs:
    """The rounds of a baseline, one for each epoch, and their batches: all cases in a new order each time."""

    def __init__(self, workload: Workload, seed: int) -> None:
        recipe, cases = workload.recipe, (*workload.splits.train, *workload.splits.calibration)
        tile = recipe.tile or workload.pipeline.tile
        self._recipe = recipe
        self._random = np.random.default_rng(seed)
        self.learnt = 0
        """How many numbers of images were trained on so far."""
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
            batch = Batch(*as_tensors(pairs))
            self.learnt += batch.images.numel()
            yield batch

    def facts(self) -> dict[str, Any]:
        """What `restore` goes on from, between two epochs."""
        return {"learnt": self.learnt, "random": dict(self._random.bit_generator.state)}

    def restore(self, facts: Mapping[str, Any]) -> None:
        """Go on from what `facts` said."""
        self.learnt, self._random.bit_generator.state = facts["learnt"], facts["random"]


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

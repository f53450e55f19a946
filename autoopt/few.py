"""A few cases before all of them: a trial that surely loses too much on those is not asked for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoopt import standing
from autoopt.records import Quality
from autoopt.workload import Case

FEW = 12
"""Cases of different groups: with fewer only gross losses are sure."""
WORTH = 4
"""A split of fewer than so many times the few is scored at once: there is little to save."""

Judge = Callable[[list[np.ndarray]], Quality | None]


@dataclass
class Few:
    """The check of one trial: the indices of the `cases` to predict first, none where there is no check.

    `quality` is what the few let expect of all, once they told that the others are not worth predicting.
    """

    cases: Sequence[int] = ()
    judge: Judge = lambda predictions: None
    quality: Quality | None = None

    def go_on(self, predictions: list[np.ndarray]) -> bool:
        """Whether the other cases are wanted, given the predictions of the few."""
        self.quality = self.judge(predictions)
        return self.quality is None


def few_of(
    cases: Sequence[Case],
    reference: Quality,
    max_drop: float | None,
    score: Callable[[Sequence[np.ndarray], Sequence[int]], Quality],
) -> Few:
    """The check of a trial that is compared with `reference`; `score` tells the quality of some cases."""
    chosen = drawn(cases)
    if max_drop is None or not chosen or any(reference.primary not in case.scores for case in reference.cases):
        return Few()

    def judge(predictions: list[np.ndarray]) -> Quality | None:
        found = estimated(score(predictions, chosen), reference)
        known = found.primary in found.values  # it may be defined for none of the few
        return found if known and loses_too_much(found, reference, max_drop) else None

    return Few(chosen, judge)


def drawn(cases: Sequence[Case]) -> list[int]:
    """The indices of `FEW` cases, each the first of its group, drawn once and for all; none where it saves little."""
    first: dict[str, int] = {}
    for index, case in enumerate(cases):
        first.setdefault(case.group, index)
    if len(first) < FEW or len(cases) < WORTH * FEW:
        return []
    indices = list(first.values())
    return sorted(indices[index] for index in np.random.default_rng(0).permutation(len(first))[:FEW])


def estimated(few: Quality, reference: Quality) -> Quality:
    """The quality that the few cases let expect of all: the reference's, less what is lost on those that both have.

    The difference estimator (Cochran 1977): that the few are easier or harder than the rest cancels.
    """
    same = reference.among(few.cases)
    lost = {name: same.values[name] - value for name, value in few.values.items() if name in same.values}
    values = {name: reference.values[name] - drop for name, drop in lost.items()}
    return replace(few, values=values, left_out=len(reference.cases) - len(few.cases))


def loses_too_much(few: Quality, reference: Quality, max_drop: float) -> bool:
    """Whether the drop on the few cases is surely larger than allowed: the lower end of its 95 % interval is.

    A trial is kept only when the upper bound of its drop on all cases is below the limit; that both happen to one
    trial is far rarer than the one in forty by which the interval misses the truth on that side.
    """
    found = standing.drop(reference, few)
    return found is not None and found.low > max_drop

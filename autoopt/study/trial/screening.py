"""Screening: a few cases are scored before all of them; a trial that surely loses too much on those ends there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from autoopt.core.scores import Quality
from autoopt.study import uncertainty
from autoopt.workloads.contract import Case

SCREENING_CASES = 12
"""Cases of different groups: with fewer only gross losses are sure."""
LEAST_SAVING = 4
"""A split of fewer than so many times the screening cases is scored at once: there is little to save."""


@dataclass(frozen=True)
class Screening:
    """The cases to score first, and what their scores are compared with. Without `cases` all are scored at once.

    `cases` are indices into the split, `reference` is the quality of the reference on the whole split, `max_drop` the
    largest loss that a trial may have, as a fraction.
    """

    cases: tuple[int, ...] = ()
    reference: Quality | None = None
    max_drop: float = 0.0

    def failed(self, screened: Quality) -> Quality | None:
        """The estimated quality of the whole split when the screening cases surely lose too much, else None."""
        assert self.reference is not None
        estimate = estimated(screened, self.reference)
        known = estimate.primary in estimate.values  # it may be defined for none of the screening cases
        return estimate if known and loses_too_much(estimate, self.reference, self.max_drop) else None


NONE = Screening()
"""All cases are scored at once."""


def screening_of(cases: Sequence[Case], reference: Quality | None, max_drop: float | None) -> Screening:
    """The screening of a trial that is compared with `reference`; none where nothing can be told early."""
    if max_drop is None or reference is None or any(reference.primary not in case.scores for case in reference.cases):
        return NONE
    return Screening(tuple(drawn(cases)), reference, max_drop)


def drawn(cases: Sequence[Case]) -> list[int]:
    """The indices of `SCREENING_CASES` cases, each the first of its group, the same for every trial.

    None where screening would save little.
    """
    first: dict[str, int] = {}
    for index, case in enumerate(cases):
        first.setdefault(case.group, index)
    if len(first) < SCREENING_CASES or len(cases) < LEAST_SAVING * SCREENING_CASES:
        return []
    indices = list(first.values())
    return sorted(indices[index] for index in np.random.default_rng(0).permutation(len(first))[:SCREENING_CASES])


def estimated(screened: Quality, reference: Quality) -> Quality:
    """The quality of the whole split as the screening cases estimate it: the reference's, less what they lost.

    The difference estimator (Cochran 1977): that the screening cases are easier or harder than the rest cancels.
    """
    same = reference.among(screened.cases)
    lost = {name: same.values[name] - value for name, value in screened.values.items() if name in same.values}
    values = {name: reference.values[name] - drop for name, drop in lost.items()}
    return replace(screened, values=values, left_out=len(reference.cases) - len(screened.cases))


def loses_too_much(screened: Quality, reference: Quality, max_drop: float) -> bool:
    """Whether the lower end of the 95 % interval of the drop on the screening cases is above the limit.

    A trial is kept only when the upper bound of its drop on all cases is below the limit; that both happen to one
    trial is far rarer than the one in forty by which the interval misses the truth on that side.
    """
    found = uncertainty.drop(reference, screened)
    return found is not None and found.low > max_drop

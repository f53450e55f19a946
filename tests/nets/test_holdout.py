"""Which training cases a recovery does not learn from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from autoopt.nets.holdout import plain_batches, split  # noqa: E402
from autoopt.workloads.contract import Case, Sample  # noqa: E402
from tests import tiny  # noqa: E402


def case(index: int, group: str) -> Case:
    return Case(f"c{index}", group, lambda: Sample(np.zeros((4, 4, 3)), np.zeros((4, 4), int)))


@given(groups=st.lists(st.integers(0, 8), min_size=2, max_size=40))
def test_patients_are_held_out_whole(groups: list[int]) -> None:
    """Nothing is learnt of a patient that is held out, both parts have cases, and they are the same each time."""
    cases = [case(index, f"p{group}") for index, group in enumerate(groups)]
    learnt, held = split(cases)
    assert learnt and held
    assert [[c.id for c in part] for part in split(cases)] == [[c.id for c in learnt], [c.id for c in held]]
    if len(set(groups)) > 1:
        assert not {c.group for c in learnt} & {c.group for c in held}
    else:
        assert not {c.id for c in learnt} & {c.id for c in held}


def test_tiles_come_in_batches() -> None:
    """There is one tile of each case, in order and the same each time, as many at once as are asked for."""
    workload = tiny.workload()
    singles = plain_batches(workload.splits.train, workload)
    batches = plain_batches(workload.splits.train, workload, batch=2)
    assert len(singles) == 3 and [len(images) for images, _ in batches] == [2, 1]
    for place in (0, 1):
        assert torch.equal(torch.cat([pair[place] for pair in batches]), torch.cat([pair[place] for pair in singles]))

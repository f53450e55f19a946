"""Sets of channels that must be removed together."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from autoopt.nets.channel_sets import KEPT, ChannelSets


@given(pairs=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=15), kept=st.sets(st.integers(0, 9)))
def test_what_is_joined_is_one_set(pairs: list[tuple[int, int]], kept: set[int]) -> None:
    """Two channels are in one set when a chain of joins connects them, and kept when any of their set is."""
    sets = ChannelSets()
    channels = sets.fresh(10)
    expected = [{place} for place in range(10)]
    for one, other in pairs:
        sets.join(channels[[one]], channels[[other]])
        both = expected[one] | expected[other]
        for place in both:
            expected[place] = both
    sets.keep([channels[sorted(kept)]])
    for one in range(10):
        assert (sets.root(int(channels[one])) == KEPT) is bool(expected[one] & kept)
        if not expected[one] & kept:
            same = {place for place in range(10) if sets.root(int(channels[place])) == sets.root(int(channels[one]))}
            assert same == expected[one]


def test_axes_of_unequal_length_are_kept() -> None:
    """What cannot be matched channel by channel, or is matched with nothing, stays whole."""
    sets = ChannelSets()
    three, two, alone = sets.fresh(3), sets.fresh(2), sets.fresh(2)
    assert sets.join(three, two) is None and sets.join(alone, None) is None
    assert all(sets.root(int(channel)) == KEPT for channel in np.concatenate([three, two, alone]))


def test_parts_of_an_axis_lose_the_same_places() -> None:
    """Tied parts are one; an axis that cannot be divided is kept."""
    sets = ChannelSets()
    axis, odd = sets.fresh(6), sets.fresh(5)
    part = sets.tie(axis, 2)
    assert part is not None and part.tolist() == axis[:3].tolist()
    assert [sets.root(int(channel)) for channel in axis[3:]] == [sets.root(int(channel)) for channel in axis[:3]]
    assert sets.tie(odd, 2) is None and all(sets.root(int(channel)) == KEPT for channel in odd)

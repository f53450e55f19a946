"""The epochs of a baseline."""

from __future__ import annotations

from autoopt.nets.epochs import shrink_factors


def test_low_resolutions_come_first() -> None:
    """Large tiles are learnt from a low to the full resolution; small tiles are learnt at the full one throughout."""
    factors = shrink_factors(25, (224, 224))

    assert factors == sorted(factors, reverse=True)
    assert len(factors) == 25
    assert set(factors) == {4, 2, 1}
    assert shrink_factors(1, (224, 224)) == [1]
    assert shrink_factors(3, (16, 16)) == [1, 1, 1]

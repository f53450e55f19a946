"""Functions timed in turns: each as often as asked, in its turn, by its least time."""

from __future__ import annotations

from autoopt.core.quick_timing import least_seconds


def test_each_takes_its_turns() -> None:
    """Every turn calls each function once to warm up and then as often as asked; the least time counts."""
    order: list[str] = []
    found = least_seconds([lambda: order.append("a"), lambda: order.append("b")], turns=2, calls_each=2)
    assert "".join(order) == "aaabbbaaabbb"
    assert len(found) == 2 and all(0 <= seconds < 1 for seconds in found)
    assert least_seconds([], turns=1, calls_each=1) == []

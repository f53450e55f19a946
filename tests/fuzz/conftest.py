"""One probe per target for all tests of a file, and at the end how many inputs were tried."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.fuzz.probe import COUNTS, Probe


@pytest.fixture(scope="module")
def probe() -> Iterator[Callable[[str], Probe]]:
    with ExitStack() as opened:
        probes: dict[str, Probe] = {}

        def of(target: str) -> Probe:
            if target not in probes:
                probes[target] = opened.enter_context(Probe(target))
            return probes[target]

        yield of


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the counts of this process; workers of xdist have counts of their own, so `make fuzz` uses none."""
    if not COUNTS:
        return
    terminalreporter.section("inputs that were tried")
    totals: Counter[str] = Counter()
    for (target, _), count in COUNTS.items():
        totals[target] += count
    for target, total in sorted(totals.items()):
        kinds = ", ".join(f"{count} {kind}" for (name, kind), count in sorted(COUNTS.items()) if name == target)
        terminalreporter.write_line(f"{target:12} {total:7}  ({kinds})")

"""What the commands print; `console.py` says where to, `front_table.py` and `search.py` have what a search shows."""

from __future__ import annotations

from autoopt.terminal.both_fronts import both_fronts
from autoopt.terminal.console import console_of, duration, stdout_alone
from autoopt.terminal.events import SearchEvents
from autoopt.terminal.front_table import arms, front
from autoopt.terminal.results import (
    checks,
    collected,
    explanation,
    matrix,
    noise,
    ranking,
    replay,
    settings,
    spaces,
    train_result,
    workloads,
)
from autoopt.terminal.search import answer, plan, search_result

__all__ = [
    "SearchEvents",
    "answer",
    "arms",
    "both_fronts",
    "checks",
    "collected",
    "console_of",
    "duration",
    "explanation",
    "front",
    "matrix",
    "noise",
    "plan",
    "ranking",
    "replay",
    "search_result",
    "settings",
    "spaces",
    "stdout_alone",
    "train_result",
    "workloads",
]

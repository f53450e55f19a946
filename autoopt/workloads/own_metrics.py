"""Metrics of the user's own: functions that score one case, in a Python file beside the model.

A workload has them in `own_metrics`; for somebody's model (`--model`) the option of that name lists them as
file.py:function. How they are called, and what is done about a fault of theirs, is in measure/own_scores.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoopt.workloads.identity import code_identity

OWN_METRICS = "own_metrics"
"""The option of somebody's model that lists them."""


@dataclass(frozen=True)
class OwnMetric:
    """A function that scores one case, its name in tables, limits and MLflow, and whether more of it is better.

    `of_case` is given an `autoopt.measure.metrics.Compared`, which has the reference, the decided labels, the
    probabilities of a classification and the size of a voxel. It returns one finite number, or None for a case for
    which the metric is not defined.
    """

    name: str
    of_case: Callable[[Any], float | None]
    larger_is_better: bool = True
    description: str = "a metric of the user's own"

    def __call__(self, compared: Any) -> float | None:
        """What the function returns, unchecked."""
        return self.of_case(compared)

    def identity(self) -> dict[str, Any]:
        """What scores depend on, as plain data: the direction, and the name and the files of the function."""
        return {"larger_is_better": self.larger_is_better, "function": code_identity(self.of_case)}


def metric(
    description: str = OwnMetric.description, *, name: str | None = None, larger_is_better: bool = True
) -> Callable[[Callable[[Any], float | None]], OwnMetric]:
    """A decorator that makes a function of one compared case a metric, by default called as the function is."""

    def make(function: Callable[[Any], float | None]) -> OwnMetric:
        return OwnMetric(name or function.__name__, function, larger_is_better, description)

    return make


def as_metric(found: Any, name: str) -> OwnMetric:
    """What a file has under `name` as a metric: one already, or a function, of which more is better."""
    return found if isinstance(found, OwnMetric) else OwnMetric(name, found)


def name_problems(own: Sequence[OwnMetric]) -> list[str]:
    """What is wrong with the names of metrics, a sentence each: they name columns and MLflow's metrics too."""
    names = [item.name for item in own]
    problems = [
        f"a metric of your own must be named like a function, with letters, digits and _, got {name!r}"
        for name in names
        if not (isinstance(name, str) and name.isidentifier() and name.isascii())
    ]
    twice = sorted({name for name in names if names.count(name) > 1})
    return [*problems, *(f"two metrics of your own are called {name!r}: give each a name of its own" for name in twice)]


def absolute(text: str) -> str:
    """The comma-separated sources file.py:function with the files' whole paths: other processes load them again."""
    return ",".join(_absolute(part.strip()) for part in text.split(",") if part.strip())


def _absolute(source: str) -> str:
    where, colon, name = source.rpartition(":")
    return f"{Path(where).resolve()}{colon}{name}" if where.endswith(".py") else source

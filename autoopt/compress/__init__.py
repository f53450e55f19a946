"""Compression steps: one file each, one line each in `STEPS`."""

from __future__ import annotations

from typing import cast

from autoopt.compress.base import GraphStep, NetStep, Step
from autoopt.core.tables import Table

STEPS = Table(
    "step",
    {
        "control": "autoopt.compress.control",
        "ensemble": "autoopt.compress.ensemble",
        "resolution": "autoopt.compress.reduce_resolution",
        "prune": "autoopt.compress.prune",
        "factorize": "autoopt.compress.factorize",
        "recover": "autoopt.compress.recover",
        "quantize": "autoopt.compress.quantize",
    },
)
"""Section name to module; the module is a `NetStep` or a `GraphStep` (base.py). Importing it loads no heavy library.

Steps on the network are applied first, then those on the exported graph; each kind in the order of this table.
"""


def step(name: str) -> Step:
    """The step module called `name`. Raises KeyError for a name that is not in the table."""
    return cast(Step, STEPS.load(name))


def net_step(name: str) -> NetStep:
    """The step called `name`, which changes the network."""
    return cast(NetStep, step(name))


def graph_step(name: str) -> GraphStep:
    """The step called `name`, which changes the exported graph."""
    return cast(GraphStep, step(name))


def net_steps() -> list[str]:
    """The names of the steps that change the network before it is exported, in order."""
    return [name for name in STEPS if hasattr(step(name), "change")]


def graph_steps() -> list[str]:
    """The names of the steps that change the exported graph, in order."""
    return [name for name in STEPS if hasattr(step(name), "apply")]

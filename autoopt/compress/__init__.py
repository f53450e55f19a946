"""Compression steps (axis 2a): one file each, one line each in a table, in the order they are applied."""

from __future__ import annotations

import importlib
from typing import cast

from autoopt.compress.base import GraphStep, NetStep, Step

NET_STEPS: dict[str, str] = {
    "coarsen": "autoopt.compress.reduce_resolution",
    "prune": "autoopt.compress.prune",
    "factorize": "autoopt.compress.factorize",
    "recover": "autoopt.compress.recover",
}
"""What changes the network before it is exported: section name to module, a `NetStep` (base.py)."""
STEPS: dict[str, str] = {
    **NET_STEPS,
    "quantize": "autoopt.compress.quantize",
}
"""All steps; the others change the exported graph, a `GraphStep`. Importing one loads no heavy library."""


def step(name: str) -> Step:
    """The step module called `name`. Raises KeyError for a name that is not in the table."""
    return cast(Step, importlib.import_module(STEPS[name]))


def net_step(name: str) -> NetStep:
    """The step called `name`, which changes the network."""
    return cast(NetStep, importlib.import_module(NET_STEPS[name]))


def graph_step(name: str) -> GraphStep:
    """The step called `name`, which changes the exported graph."""
    return cast(GraphStep, step(name))


def graph_steps() -> list[str]:
    """The names of the steps that change the graph, in order."""
    return [name for name in STEPS if name not in NET_STEPS]

"""Runtimes: what executes an artifact. One file each, one line each in `RUNTIMES`."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from autoopt.core.tables import Table
from autoopt.inference.formats import can_hold, graph_format
from autoopt.inference.runtimes.base import Runtime

RUNTIMES = Table(
    "runtime",
    {
        "openvino": "autoopt.inference.runtimes.openvino",
        "onnxruntime": "autoopt.inference.runtimes.onnxruntime",
        "torch": "autoopt.inference.runtimes.torch",
        "fake": "autoopt.inference.runtimes.fake",
    },
)
"""Name to module; the module is a `Runtime` (base.py). Importing it loads no heavy library.

The order is that in which a study tries them first, and in which tables list them.
"""
EXACT = "f32"
"""The precision of every comparison: each runtime has it."""
REFERENCE = "torch"
"""The runtime of the reference, the network as its makers run it: every drop and every first speed-up is against it."""
BASELINE = "openvino"
"""The runtime of the compiled float baseline: a speed-up on a CPU means little that is not seen beside it."""
REFERENCE_LABEL = f"{REFERENCE} {EXACT}"
"""The label of the reference's trial."""
BASELINE_LABEL = f"{BASELINE} {EXACT}"
"""The label of the baseline's trial."""


def runtime(name: str) -> Runtime:
    """The runtime module called `name`. Raises KeyError for a name that is not in the table."""
    return cast(Runtime, RUNTIMES.load(name))


def runtime_title(name: str) -> str:
    """What people call the runtime `name`: its TITLE; the name where it has none, or is not in the table."""
    return str(getattr(runtime(name), "TITLE", name)) if name in RUNTIMES else name


def runtime_initials(name: str) -> str:
    """Two or three letters for the runtime `name` where room is scarce: its INITIALS; else the name's first four."""
    return str(getattr(runtime(name), "INITIALS", name[:4])) if name in RUNTIMES else name[:4]


def has_network(name: str) -> bool:
    """Whether the runtime called `name` executes the network, and is no stand-in of tests that no step changes."""
    return graph_format(runtime(name).FORMAT).NETWORK


def can_run(name: str, graph: Path) -> bool:
    """Whether the runtime called `name` can execute a finished graph file that somebody brings instead of a network."""
    return can_hold(runtime(name).FORMAT, graph)

"""Runtimes (axis 2b): what executes an artifact. One file each, one line each in `RUNTIMES`."""

from __future__ import annotations

from typing import cast

from autoopt.core.tables import Table
from autoopt.inference.runtimes.base import Runtime

RUNTIMES = Table(
    "runtime",
    {
        "torch": "autoopt.inference.runtimes.torch",
        "onnxruntime": "autoopt.inference.runtimes.onnxruntime",
        "openvino": "autoopt.inference.runtimes.openvino",
        "fake": "autoopt.inference.runtimes.fake",
    },
)
"""Name to module; the module is a `Runtime` (base.py). Importing it loads no heavy library."""


def runtime(name: str) -> Runtime:
    """The runtime module called `name`. Raises KeyError for a name that is not in the table."""
    return cast(Runtime, RUNTIMES.load(name))

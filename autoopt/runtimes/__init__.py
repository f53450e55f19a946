"""Runtimes (axis 2b): what executes an artifact. One file each, one line each in `RUNTIMES`."""

from __future__ import annotations

import importlib
from typing import cast

from autoopt.runtimes.base import Runtime

RUNTIMES: dict[str, str] = {
    "torch": "autoopt.runtimes.torch",
    "onnxruntime": "autoopt.runtimes.onnxruntime",
    "openvino": "autoopt.runtimes.openvino",
    "fake": "autoopt.runtimes.fake",
}
"""Name to module; the module is a `Runtime` (base.py). Importing it loads no heavy library."""


def runtime(name: str) -> Runtime:
    """The runtime module called `name`. Raises KeyError for a name that is not in the table."""
    return cast(Runtime, importlib.import_module(RUNTIMES[name]))

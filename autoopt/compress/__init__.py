"""Compression steps (axis 2a): one file each, one line each in `STEPS`, in the order they are applied."""

from __future__ import annotations

import importlib
from typing import cast

from autoopt.compress.base import Step

STEPS: dict[str, str] = {
    "quantize": "autoopt.compress.quantize",
}
"""Section name to module; the module is a `Step` (base.py). Importing it loads no heavy library."""


def step(name: str) -> Step:
    """The step module called `name`. Raises KeyError for a name that is not in the table."""
    return cast(Step, importlib.import_module(STEPS[name]))

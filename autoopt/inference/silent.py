"""OpenVINO, imported without its telemetry: as it comes, its import alone reports to its makers from any process.

Child processes are told by their environment (`core.process.QUIET`); what runs in the user's own process, such as
`autoopt.load` in a clinic, has no environment of ours.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast

REPORTER = "openvino_telemetry"
"""The package that reports. Where it is not installed, OpenVINO does without."""


def openvino(part: str = "") -> Any:
    """The module openvino, or a `part` of it such as "passes"."""
    if "openvino" not in sys.modules:
        with _missing(REPORTER):
            importlib.import_module("openvino")
    return importlib.import_module(f"openvino.{part}" if part else "openvino")


@contextmanager
def _missing(name: str) -> Iterator[None]:
    """Let imports of `name` fail within the block, whether it was imported before or not."""
    before = sys.modules.get(name)
    sys.modules[name] = cast(ModuleType, None)
    try:
        yield
    finally:
        if before is None:
            sys.modules.pop(name, None)
        else:
            sys.modules[name] = before

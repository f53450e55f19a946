"""autoopt: search the compression configurations of a medical-imaging model on the hardware that will run it.

The names below are imported when they are first used, so that `import autoopt` is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autoopt.api import check, explain, front, plan, predict, pull, register, replay, search, train
    from autoopt.deploy.predictor import load
    from autoopt.errors import AutooptError
    from autoopt.inference.pipeline import Pipeline
    from autoopt.study.request import SearchRequest
    from autoopt.workloads.contract import Case, Recipe, Sample, Splits, Workload

__version__ = "0.1.0"

_HOMES = {
    "AutooptError": "autoopt.errors",
    "Case": "autoopt.workloads.contract",
    "Pipeline": "autoopt.inference.pipeline",
    "Recipe": "autoopt.workloads.contract",
    "Sample": "autoopt.workloads.contract",
    "SearchRequest": "autoopt.study.request",
    "Splits": "autoopt.workloads.contract",
    "Workload": "autoopt.workloads.contract",
    "check": "autoopt.api",
    "explain": "autoopt.api",
    "front": "autoopt.api",
    "load": "autoopt.deploy.predictor",
    "plan": "autoopt.api",
    "predict": "autoopt.api",
    "pull": "autoopt.api",
    "register": "autoopt.api",
    "replay": "autoopt.api",
    "search": "autoopt.api",
    "train": "autoopt.api",
}

__all__ = [
    "AutooptError",
    "Case",
    "Pipeline",
    "Recipe",
    "Sample",
    "SearchRequest",
    "Splits",
    "Workload",
    "__version__",
    "check",
    "explain",
    "front",
    "load",
    "plan",
    "predict",
    "pull",
    "register",
    "replay",
    "search",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'autoopt' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__

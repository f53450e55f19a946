"""What of a workload and of the installed packages decides an artifact: a part of its key in the store."""

from __future__ import annotations

import importlib.metadata
import inspect
from functools import partial
from pathlib import Path
from typing import Any

from autoopt.core.store import file_digest
from autoopt.workloads.contract import Workload


def identity(workload: Workload) -> dict[str, Any]:
    """What of the workload decides its graph: name, options, and the file that builds the model."""
    assert workload.origin is not None
    options = dict(workload.origin.options)
    if workload.graph is not None:
        return {"name": workload.name, "options": options, "code": file_digest(workload.graph)}
    build: Any = workload.build
    arguments: list[str] = []
    while isinstance(build, partial):
        arguments.append(repr((build.args, sorted(build.keywords.items()))))
        build = build.func
    try:
        file = inspect.getsourcefile(inspect.unwrap(build))
    except TypeError:  # a callable object, not a function: its class has the source
        file = inspect.getsourcefile(type(build))
    code = None if file is None or not Path(file).is_file() else file_digest(Path(file))
    return {"name": workload.name, "options": options, "code": code, "arguments": arguments}


def versions(distributions: tuple[str, ...]) -> dict[str, str | None]:
    """Installed versions; a package that is not there counts as such, and whoever needs it says so."""
    found: dict[str, str | None] = {}
    for name in distributions:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found

"""Loading a workload: by the name of a built-in, from a Python file or module, or around somebody's model."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from autoopt.core.configuration import Scalar, digest
from autoopt.core.tables import Table
from autoopt.errors import UsageError, WorkloadError
from autoopt.workloads.checks import check_workload
from autoopt.workloads.contract import Origin, Workload
from autoopt.workloads.options import call_with_options, read_options
from autoopt.workloads.own_metrics import OWN_METRICS, absolute

_log = logging.getLogger("autoopt")

BUILT_IN = Table(
    "workload",
    {
        "histo": "autoopt.workloads.histo",
        "brain": "autoopt.workloads.brain",
        "cardiac": "autoopt.workloads.cardiac",
        "dfu": "autoopt.workloads.dfu",
        "timeseries": "autoopt.workloads.timeseries",
    },
)
"""The built-in workloads, name to module. Such a module has `SUMMARY`, `OPTIONS` (name to Parameter),
`workload(data: Path, **options)`, `write_demo(folder: Path)`, `demo_options()` (the options that the shipped baseline
was trained with) and `DEMO_WEIGHTS: Path`, and may have `IMPORTS`, see `imports_of`."""

MODELS = Table(
    "kind of model",
    {
        "onnx": "autoopt.workloads.models.onnx_file",
        "saved": "autoopt.workloads.models.saved_network",
        "nnunet": "autoopt.workloads.models.nnunet",
        "bundle": "autoopt.workloads.models.monai_bundle",
        "named": "autoopt.workloads.models.named_network",
        "checkpoint": "autoopt.workloads.models.checkpoint",
    },
)
"""The kinds of models that `--model` takes, asked in this order. Such a module has `matches(model: str) -> bool`,
`OPTIONS` (name to Parameter) and `workload(model: str, data: Path, options)`, and may have `IMPORTS`, see
`imports_of`."""
MODEL = "model:"
"""The source of a workload begins with this when it is somebody's model."""


def load_workload(
    source: str,
    data: Path | None,
    home: Path,
    options: Mapping[str, Scalar] | None = None,
    *,
    on_remark: Callable[[str], None] = _log.warning,
) -> Workload:
    """The workload called `source`, on the cases in `data`; a built-in one without `data` on its demo data.

    `source` is the name of a built-in workload; `file.py:function` or `package.module:function`, a function that takes
    the data folder (a Path, or None) and returns a Workload; or "model:" and an ONNX file, the folder of a MONAI bundle
    or a function that builds a network. `options` are the workload's own; texts are read as its `OPTIONS` declare. Demo
    data is made below `home` on first use. `on_remark` is told what was understood without being asked. Raises
    WorkloadError or DataError with everything that is wrong.
    """
    options = dict(options or {})
    if source in BUILT_IN:
        resolved, workload = source, _load_built_in(source, data, home, options)
    elif source.startswith(MODEL):
        options |= {name: absolute(str(text)) for name, text in options.items() if name == OWN_METRICS and text}
        resolved, workload = _load_model(source.removeprefix(MODEL), data, options)
    elif ":" in source:
        resolved, workload = _load_own(source, data, options)
    else:
        raise WorkloadError(
            f"no workload is called {source!r}: use one of {', '.join(sorted(BUILT_IN))}, "
            "or your own as file.py:function or package.module:function"
        )
    check_workload(workload)
    for remark in workload.remarks:
        on_remark(remark)
    origin = Origin(resolved, None if data is None else str(data.resolve()), str(home.resolve()), options)
    return replace(workload, origin=origin)


def imports_of(source: str) -> tuple[str, ...]:
    """The slow modules, besides torch, that building the network of `source` imports, where that is known beforehand.

    A process that will build it can begin with them, while another one still reads the data. Empty for what does not
    say so: then they are imported when the network is built.
    """
    if source in BUILT_IN:
        return tuple(getattr(BUILT_IN.load(source), "IMPORTS", ()))
    if source.startswith(MODEL):
        kind = _kind_of(source.removeprefix(MODEL))
        return () if kind is None else tuple(getattr(kind, "IMPORTS", ()))
    return ()


def load_again(origin: Origin) -> Workload:
    """The workload that was loaded with these arguments, in this process; its remarks were made before."""
    data = None if origin.data is None else Path(origin.data)
    found = load_workload(origin.source, data, Path(origin.home), origin.options, on_remark=lambda remark: None)
    return replace(found, origin=origin)


def find_function(source: str) -> tuple[Callable[..., Any], str]:
    """The function that `file.py:function` or `package.module:function` names, and that name with an absolute path.

    Raises WorkloadError for a file, module or function that is not there or fails when imported.
    """
    where, _, name = source.rpartition(":")
    try:
        if where.endswith(".py"):
            path = Path(where).resolve()
            if not path.is_file():
                raise WorkloadError(
                    f"the file {where} does not exist: {source} must name a function in a file that is there"
                )
            module = _import_file(path)
            where = str(path)
        else:
            module = importlib.import_module(where)
    except UsageError:
        raise
    except Exception as error:  # the user's own code: name it, keep its traceback as the cause
        raise WorkloadError(f"{where} cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise WorkloadError(f"{where} has no function {name!r}")
    return function, f"{where}:{name}"


def _load_built_in(name: str, data: Path | None, home: Path, options: Mapping[str, Scalar]) -> Workload:
    module = BUILT_IN.load(name)
    chosen = read_options(name, module.OPTIONS, options)
    if data is not None:
        workload: Workload = module.workload(data, **chosen)
        return workload
    folder = home / "demo" / name
    module.write_demo(folder)
    shipped = dict(module.demo_options())
    workload = replace(module.workload(folder, **{**shipped, **chosen}), demo=True)
    if {**shipped, **chosen} == shipped:  # the shipped weights fit this network only
        workload = replace(workload, weights=module.DEMO_WEIGHTS)
    return workload


def _load_model(model: str, data: Path | None, options: Mapping[str, Scalar]) -> tuple[str, Workload]:
    if data is None:
        raise WorkloadError(f"the model {model} needs cases: give --data DIR")
    kind = _kind_of(model)
    if kind is not None:
        where, colon, function = model.rpartition(":")
        path = Path(where) if colon else Path(model)
        resolved = f"{path.resolve()}{colon}{function if colon else ''}" if path.exists() else model
        return f"{MODEL}{resolved}", kind.workload(resolved, data, read_options(model, kind.OPTIONS, options))
    raise WorkloadError(
        f"the model must be an ONNX file, the folder of a MONAI bundle or of nnU-Net, file.py:function that builds a "
        f"network, or the name of one, such as monai:SegResNet; "
        f"{model} is {'none of them' if Path(model).exists() else 'not there'}"
    )


def _kind_of(model: str) -> Any:
    """The first module of `MODELS` that reads `model`; None where none does."""
    return next((module for module in map(MODELS.load, MODELS) if module.matches(model)), None)


def _load_own(source: str, data: Path | None, options: Mapping[str, Scalar]) -> tuple[str, Workload]:
    function, resolved = find_function(source)
    try:
        workload = call_with_options(function, data, options)
    except UsageError:
        raise
    except Exception as error:  # the user's own code: name it, keep its traceback as the cause
        raise WorkloadError(f"{source} failed with {type(error).__name__}: {error}") from error
    if not isinstance(workload, Workload):
        raise WorkloadError(f"{source} must return an autoopt.Workload, it returned {type(workload).__name__}")
    return resolved, workload


def _import_file(path: Path) -> ModuleType:
    """The module in a file; one that lies in a package is imported as a part of it, so that it may use the others."""
    if (path.parent / "__init__.py").is_file():
        return _import_from_package(path)
    name = f"autoopt_user_{path.stem}_{digest(str(path))[:8]}"
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # so that it can import the files beside it
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _import_from_package(path: Path) -> ModuleType:
    """The module by its name in the topmost package around it. Raises WorkloadError where that name is another's."""
    parts, folder = [] if path.stem == "__init__" else [path.stem], path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    module = importlib.import_module(".".join(parts))
    found = Path(module.__file__ or "").resolve()
    if found != path:
        raise WorkloadError(
            f"{path} is part of the package {parts[0]}, but that name stands for another one, {found.parent}: rename "
            "the package, or name a file outside of it that imports it"
        )
    return module

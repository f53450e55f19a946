"""Packages that an install may lack: which one is missing, and what to type to get it.

The base install loads bundles, checks them and predicts; what else there is needs the packages of an extra.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from importlib import util
from typing import Any, TypeVar, cast

from autoopt.errors import NeedsPackage

F = TypeVar("F", bound=Callable[..., object])

SEARCH = ("torch", "optuna", "mlflow", "yaml")
"""The modules that a search cannot begin without; where they are, the rest of the extra is there too."""
STUDIES = ("optuna", "sqlalchemy")
"""The modules that read the studies of a search."""
SEARCH_EXTRA = "'autoopt[search]'"
OF_SEARCH = (
    *SEARCH,
    "einops",
    "matplotlib",
    "monai",
    "nncf",
    "onnx",
    "onnxscript",
    "safetensors",
    "sklearn",
    "sqlalchemy",
)
"""Modules that only the extra of the search brings."""
HOW = {
    **dict.fromkeys(OF_SEARCH, SEARCH_EXTRA),
    "openvino": "'autoopt[openvino]'",
    "onnxruntime": "'autoopt[onnxruntime]'",
    "psycopg": "'autoopt[postgres]'",
    "pydicom": "'autoopt[dicom]'",
    "distributed": "'autoopt[fleet]'",
    "torchao": "'autoopt[training]'",
    "codecarbon": "'autoopt[training]'",
    "PIL": "pillow",
    "nibabel": "nibabel",
    "scipy": "scipy",
    "segmentation_models_pytorch": "segmentation-models-pytorch",
}
"""What pip is to install for a module that is missing."""


def is_installed(module: str) -> bool:
    """Whether the module can be found; it is not imported."""
    try:
        return util.find_spec(module) is not None
    except ValueError:  # imported without a file of its own
        return True


def require(*modules: str) -> None:
    """Raise NeedsPackage, with what to install, unless all these modules can be found."""
    absent = [name for name in modules if not is_installed(name)]
    if absent:
        raise NeedsPackage(sentence(absent))


def needs(*modules: str) -> Callable[[F], F]:
    """Let a function raise NeedsPackage, before it begins, where one of these modules is not installed."""

    def decorated(function: F) -> F:
        @functools.wraps(function)
        def checked(*arguments: Any, **words: Any) -> object:
            require(*modules)
            return function(*arguments, **words)

        return cast(F, checked)

    return decorated


def lacking(error: BaseException) -> NeedsPackage | None:
    """What to say of `error` where it, or one that led to it, is about a package that is not installed; else None."""
    for item in _chain(error):
        module = (item.name or "").partition(".")[0] if isinstance(item, ModuleNotFoundError) else ""
        if module in HOW:
            return NeedsPackage(sentence([module]))
    return None


def sentence(modules: list[str]) -> str:
    """That these modules are needed and not installed, and what to type."""
    wanted = " ".join(dict.fromkeys(how_to_install(name) for name in modules))
    names = " and ".join(dict.fromkeys(modules))
    return f"this needs {names}, which this installation does not have: pip install {wanted}"


def how_to_install(module: str) -> str:
    """What pip is to install for the module: an extra of autoopt, or the package itself."""
    return HOW.get(module, module)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and not any(following is item for item in seen):
        seen.append(following)
        yield following
        following = following.__cause__ or following.__context__

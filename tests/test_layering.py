"""The architecture, read from the source: who may import whom, and which heavy library lives where."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.source import tree_of

PACKAGE = Path(__file__).parent.parent / "autoopt"

ROOMS = (
    "core",
    "inference",
    "workloads",
    "measure",
    "nets",
    "compress",
    "study",
    "deploy",
    "fleet",
    "report",
    "tracking",
)
"""The folders of the package: a file imports from its own folder and from those before it, besides `errors.py`."""
FACE = (
    "__init__",
    "__main__",
    "api",
    "cli",
    "commands",
    "doctor",
    "endings",
    "errors",
    "linked",
    "nnunet",
    "options",
    "progress",
    "terminal",
    "testing",
)
"""The files beside the folders: they may import from all, and nothing but `errors` may be imported by a folder."""

HEAVY = frozenset(
    {
        "PIL",
        "codecarbon",
        "cryptography",
        "dask",
        "distributed",
        "matplotlib",
        "mlflow",
        "monai",
        "nibabel",
        "nncf",
        "onnx",
        "onnxruntime",
        "onnxscript",
        "openvino",
        "optuna",
        "pandas",
        "psutil",
        "pydantic",
        "pydicom",
        "rich",
        "safetensors",
        "scipy",
        "sklearn",
        "sqlalchemy",
        "torch",
        "torchao",
        "torchvision",
        "typer",
        "yaml",
    }
)
ALLOWED: dict[str, frozenset[str]] = {
    "core.plain_text": frozenset({"yaml"}),
    "core.stats": frozenset({"scipy"}),
    "inference.postprocess": frozenset({"scipy"}),
    "inference.blending": frozenset({"scipy"}),
    "inference.steps.spline": frozenset({"scipy"}),
    "inference.steps.foreground": frozenset({"scipy"}),
    "inference.formats": frozenset({"torch", "onnx", "openvino", "onnxruntime"}),
    "inference.runtimes.torch": frozenset({"torch"}),
    "inference.runtimes.onnxruntime": frozenset({"onnxruntime"}),
    "inference.runtimes.openvino": frozenset({"openvino"}),
    "workloads": frozenset({"torch", "monai", "PIL", "nibabel", "pydicom", "scipy", "onnx", "psutil", "yaml"}),
    "measure": frozenset({"psutil"}),
    "measure.emissions": frozenset({"codecarbon"}),
    "measure.metrics": frozenset({"scipy", "sklearn"}),
    "measure.peaks_process": frozenset({"openvino"}),
    "nets": frozenset({"torch", "monai", "safetensors"}),
    "nets.optimizers": frozenset({"torch", "torchao"}),
    "compress": frozenset({"torch", "nncf", "openvino", "onnxruntime", "onnx", "onnxscript"}),
    "deploy.signing": frozenset({"cryptography"}),
    "fleet": frozenset({"dask", "distributed"}),
    "fleet.certificates": frozenset({"cryptography"}),
    "study.space": frozenset({"yaml"}),
    "study.importance": frozenset({"optuna"}),
    "study.samplers": frozenset({"optuna"}),
    "study.storage": frozenset({"optuna", "sqlalchemy"}),
    "study.postgresql": frozenset({"sqlalchemy"}),
    "deploy.dicom_output": frozenset({"pydicom"}),
    "deploy.nnunet_predictor": frozenset({"torch"}),
    "deploy.outputs": frozenset({"PIL"}),
    "deploy.volume_masks": frozenset({"nibabel"}),
    "deploy.overlay": frozenset({"PIL"}),
    "report": frozenset({"matplotlib", "rich"}),
    "report.evidence_pictures": frozenset({"PIL"}),
    "tracking": frozenset({"mlflow", "sqlalchemy"}),
    "tracking.served": frozenset({"PIL"}),
    "doctor": frozenset({"psutil", "mlflow"}),
    "terminal": frozenset({"rich"}),
    "progress": frozenset({"rich"}),
    "cli": frozenset({"typer"}),
    "commands": frozenset({"typer"}),
    "options": frozenset({"typer"}),
    "testing": frozenset({"torch", "safetensors"}),
}
"""Which heavy library a file, or every file of a folder, may import inside its functions."""
AT_MODULE_LEVEL: dict[str, frozenset[str]] = {
    "cli": frozenset({"typer"}),
    "commands": frozenset({"typer"}),
    "options": frozenset({"typer"}),
    "terminal": frozenset({"rich"}),
    "progress": frozenset({"rich"}),
}
"""The exceptions: commands and options are nothing without typer; commands import terminal.py and progress.py."""

FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """autoopt/nets/files.py is nets.files, autoopt/nets/__init__.py is nets, autoopt/__init__.py is __init__."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


NAMES = frozenset(map(name_of, FILES))


def top(module: str) -> str:
    return module.partition(".")[0]


def imports(tree: ast.AST, *, module_level: bool = False) -> Iterator[str]:
    """Every imported module, in functions and for type checkers too; only those that run on import if asked."""
    body = ast.walk(tree) if not module_level else _running_on_import(tree)
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _running_on_import(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _running_on_import(node)


@cache
def own(path: Path) -> frozenset[str]:
    """The files of this package that a file imports, by name; a folder's name is its __init__.py."""
    names = imports(tree_of(path))
    ours = {name.removeprefix("autoopt.") for name in names if name.startswith("autoopt.")} - {"__version__"}
    found = set(map(_file_of, ours))
    return frozenset(found - {name_of(path)})


def _file_of(name: str) -> str:
    """nets.files.read_net is in nets.files, nets.files is itself."""
    while name not in NAMES and "." in name:
        name = name.rpartition(".")[0]
    return name if name in NAMES else "__init__"


def allowed(name: str) -> frozenset[str]:
    """What a file may import: its own line of the table, and those of the folders that it is in."""
    parts = name.split(".")
    lines = [ALLOWED.get(".".join(parts[:count]), frozenset()) for count in range(1, len(parts) + 1)]
    return frozenset().union(*lines)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_one_way(path: Path) -> None:
    """A file of a folder imports from that folder, from folders before it in the list, and from errors.py."""
    room = top(name_of(path))
    if room not in ROOMS:
        assert room in FACE, f"{path.name} must be in a folder: only {', '.join(FACE)} stand beside them"
        return
    before = {*ROOMS[: ROOMS.index(room) + 1], "errors"}
    wrong = {name for name in own(path) if top(name) not in before}
    assert not wrong, f"{name_of(path)} may not import {sorted(wrong)}"


def test_errors_import_nothing_of_the_package() -> None:
    """errors.py, which all may import, imports none of them."""
    assert own(PACKAGE / "errors.py") == set()


@pytest.mark.parametrize("room", ROOMS)
def test_a_folder_has_no_circle(room: str) -> None:
    """The files of a folder can be put in an order in which each imports those before it only."""
    arrows = {name_of(path): {name for name in own(path) if top(name) == room} for path in FILES}
    files = {name: others for name, others in arrows.items() if top(name) == room}
    circle: list[str] = []
    try:
        TopologicalSorter(files).prepare()
    except CycleError as error:
        circle = error.args[1]
    assert not circle, f"imports go in a circle: {' -> '.join(circle)}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_heavy_libraries_stay_where_they_belong(path: Path) -> None:
    """A heavy library is imported in the folders that are meant to know it, inside functions."""
    name, tree = name_of(path), tree_of(path)
    strangers = {top(module) for module in imports(tree)} & HEAVY - allowed(name)
    assert not strangers, f"{name} may not import {sorted(strangers)}"
    early = {top(module) for module in imports(tree, module_level=True)} & HEAVY
    early -= AT_MODULE_LEVEL.get(name, AT_MODULE_LEVEL.get(top(name), frozenset()))
    assert not early, f"{name} must import {sorted(early)} inside the functions that use it"


def test_the_lists_name_what_is_there() -> None:
    """Every folder, file and permission of the lists above exists, and no folder is missing."""
    assert {top(name) for name in NAMES} == {*ROOMS, *FACE}
    assert set(ALLOWED) | set(AT_MODULE_LEVEL) <= NAMES

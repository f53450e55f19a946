"""The architecture, read from the source: who may import whom, and which heavy library lives where."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "autoopt"

RANKS: dict[str, int] = {
    "errors": 0,
    "stats": 0,
    "memory": 0,
    "grid": 0,
    "answers": 0,
    "side_by_side": 0,
    "records": 1,
    "process": 1,
    "infer": 1,
    "parameters": 2,
    "pareto": 2,
    "workload": 3,
    "store": 2,
    "graphs": 2,
    "workloads": 4,
    "compress": 6,
    "runtimes": 4,
    "weights": 4,
    "samples": 4,
    "learning": 4,
    "refusals": 1,
    "nets": 5,
    "results": 7,
    "naming": 7,
    "limits": 4,
    "screening": 4,
    "export": 7,
    "measure": 7,
    "metrics": 4,
    "quality": 7,
    "space": 7,
    "bundle": 7,
    "standing": 3,
    "macs": 3,
    "in_graph": 3,
    "quarantine": 1,
    "make_child": 8,
    "make": 8,
    "training": 8,
    "request": 8,
    "picture": 8,
    "diagnosis": 8,
    "explain_picture": 9,
    "explain_text": 9,
    "yardstick": 9,
    "agreement": 9,
    "evaluate": 11,
    "runner": 12,
    "sink": 8,
    "bench": 10,
    "chain": 9,
    "surrogate": 3,
    "sampling": 9,
    "study": 10,
    "tracking": 10,
    "confirm": 11,
    "calibrating": 11,
    "loop": 13,
    "explaining": 13,
    "planning": 11,
    "layer_ranking": 11,
    "matrix_child": 8,
    "matrix": 11,
    "matrix_text": 12,
    "replaying": 12,
    "deploy": 11,
    "doctor": 11,
    "api": 14,
    "show": 14,
    "bars": 15,
    "cli": 16,
    "testing": 16,
}
"""File or folder of the package to rank: docs/architecture.md shows the same table with its reasons."""

HEAVY = frozenset(
    {
        "PIL", "matplotlib", "mlflow", "monai", "nibabel", "nncf", "onnx", "onnxruntime", "onnxscript", "openvino",
        "optuna", "pandas", "psutil", "pydantic", "rich", "safetensors", "scipy", "sklearn", "sqlalchemy", "torch",
        "torchvision", "typer", "yaml",
    }
)  # fmt: skip
ALLOWED: dict[str, frozenset[str]] = {
    "answers": frozenset({"scipy"}),
    "stats": frozenset({"scipy"}),
    "graphs": frozenset({"torch", "onnx", "openvino", "onnxruntime"}),
    "workload": frozenset({"torch"}),  # a name in an annotation
    "workloads": frozenset({"torch", "monai", "PIL", "nibabel", "scipy", "onnx", "psutil", "yaml"}),
    "learning": frozenset({"torch"}),
    "refusals": frozenset({"torch"}),
    "nets": frozenset({"torch", "monai", "safetensors"}),
    "compress": frozenset({"torch", "nncf", "openvino", "onnxruntime", "onnx"}),
    "runtimes.torch": frozenset({"torch"}),
    "runtimes.onnxruntime": frozenset({"onnxruntime"}),
    "runtimes.openvino": frozenset({"openvino"}),
    "weights": frozenset({"torch", "safetensors"}),
    "export": frozenset({"torch", "onnx", "onnxscript", "openvino"}),
    "in_graph": frozenset({"torch", "onnx", "openvino"}),
    "measure": frozenset({"psutil"}),
    "macs": frozenset({"openvino"}),
    "measure.peaks_child": frozenset({"openvino"}),
    "make_child": frozenset({"torch"}),
    "metrics": frozenset({"scipy", "sklearn"}),
    "space": frozenset({"yaml"}),
    "training": frozenset({"torch", "safetensors"}),
    "matrix": frozenset({"torch"}),
    "study": frozenset({"optuna", "sqlalchemy"}),
    "sampling": frozenset({"optuna"}),
    "tracking": frozenset({"mlflow", "sqlalchemy"}),
    "picture": frozenset({"matplotlib"}),
    "layer_ranking": frozenset({"matplotlib"}),
    "explain_picture": frozenset({"matplotlib"}),
    "explain_text": frozenset({"rich"}),
    "doctor": frozenset({"psutil", "mlflow"}),
    "show": frozenset({"rich"}),
    "bars": frozenset({"rich"}),
    "cli": frozenset({"typer"}),
    "testing": frozenset({"torch"}),
}
"""Which heavy library a file (or every file of a folder) may import inside its functions."""
AT_MODULE_LEVEL: dict[str, frozenset[str]] = {
    "cli": frozenset({"typer"}),
    "show": frozenset({"rich"}),
    "bars": frozenset({"rich"}),
}
"""The exceptions: cli.py is nothing without typer, and show.py and bars.py are imported by its commands only."""

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def name_of(path: Path) -> str:
    """autoopt/runtimes/torch.py is runtimes.torch, autoopt/runtimes/__init__.py is runtimes."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


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
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _running_on_import(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        yield from _running_on_import(node)


def own(names: Iterator[str]) -> set[str]:
    """The parts of this package among `names`, by file or folder."""
    return {top(name.removeprefix("autoopt.")) for name in names if name.startswith("autoopt.")} & set(RANKS)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    """A file imports files of lower rank, or of its own folder, and nothing else of the package."""
    part = top(name_of(path))
    assert part in RANKS, f"{part} needs a rank, here and in docs/architecture.md"
    upwards = {
        other for other in own(imports(ast.parse(path.read_text()))) if other != part and RANKS[other] >= RANKS[part]
    }
    assert not upwards, f"{name_of(path)} (rank {RANKS[part]}) may not import {sorted(upwards)}"


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_heavy_libraries_stay_where_they_belong(path: Path) -> None:
    """A heavy library is imported in the files that are meant to know it, inside functions."""
    name, tree = name_of(path), ast.parse(path.read_text())
    allowed = ALLOWED.get(name, frozenset()) | ALLOWED.get(top(name), frozenset())
    strangers = {top(module) for module in imports(tree)} & HEAVY - allowed
    assert not strangers, f"{name} may not import {sorted(strangers)}"
    early = {top(module) for module in imports(tree, module_level=True)} & HEAVY - AT_MODULE_LEVEL.get(
        name, frozenset()
    )
    assert not early, f"{name} must import {sorted(early)} inside the functions that use it"


def test_ranks_are_those_of_the_documentation() -> None:
    """docs/architecture.md shows the ranks that hold."""
    documented: dict[str, int] = {}
    for line in (ROOT / "docs" / "architecture.md").read_text().splitlines():
        row = re.match(r"\| (\d+) \| ([^|]+) \|", line)
        if row:
            for file in row[2].split(","):
                documented[file.strip().removesuffix(".py").removesuffix("/")] = int(row[1])
    assert documented == RANKS


def test_nothing_is_ranked_that_is_not_there() -> None:
    """Every rank and every permission belongs to a file or folder that exists."""
    there = {name_of(path) for path in FILES}
    assert set(RANKS) <= {top(name) for name in there}
    assert set(ALLOWED) | set(AT_MODULE_LEVEL) <= there

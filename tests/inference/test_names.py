"""The names of formats and runtimes are known to autoopt/inference/ alone; all others ask for what they have."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from autoopt.inference.formats import FORMATS
from autoopt.inference.runtimes import EXACT, RUNTIMES

PACKAGE = Path(__file__).parents[2] / "autoopt"
NAMES = {*FORMATS, *RUNTIMES}
LABELS = {f"{name} {EXACT}" for name in NAMES}

PACKAGES = "packages to install or import, as pip or Python calls them"
TABLE = "the lines of another table"
READS = "what a quantization tool reads"
ALLOWED = {
    ("compress/quantize_nncf.py", "DISTRIBUTIONS"): PACKAGES,
    ("compress/quantize_nncf.py", "SCHEMES"): READS,
    ("compress/quantize_ort.py", "DISTRIBUTIONS"): PACKAGES,
    ("compress/quantize_ort.py", "SCHEMES"): READS,
    ("compress/sensitivity.py", "DISTRIBUTIONS"): PACKAGES,
    ("compress/control.py", "DISTRIBUTIONS"): PACKAGES,
    ("compress/ensemble.py", "DISTRIBUTIONS"): PACKAGES,
    ("compress/factorize.py", "DISTRIBUTIONS"): PACKAGES,
    ("compress/prune.py", "DISTRIBUTIONS"): PACKAGES,
    ("compress/recover.py", "DISTRIBUTIONS"): PACKAGES,
    ("compress/reduce_resolution.py", "DISTRIBUTIONS"): PACKAGES,
    ("compress/maker_process.py", "WARM"): PACKAGES,
    ("compress/tools.py", "TOOLS"): TABLE,
    ("compress/matrix.py", "TECHNIQUES"): "a technique names its quantization tool",
    ("core/packages.py", "SEARCH"): PACKAGES,
    ("core/packages.py", "OF_SEARCH"): PACKAGES,
    ("core/packages.py", "HOW"): PACKAGES,
    ("deploy/server_layout.py", "GRAPHS"): "what Triton calls its backends",
    ("doctor.py", "LIBRARIES"): PACKAGES,
    ("fleet/builder_child.py", "MAKING"): PACKAGES,
    ("measure/host.py", "DISTRIBUTIONS"): PACKAGES,
    ("nets/baseline.py", "LIBRARIES"): PACKAGES,
    ("testing/example.py", "HEAVY"): PACKAGES,
    ("workloads/loading.py", "MODELS"): TABLE,
    ("workloads/models/nnunet_checkpoint.py", "UNREAD"): "modules that a checkpoint names",
    ("workloads/models/nnunet_checkpoint.py", "STORAGES"): "modules that a checkpoint names",
}
"""The constants, by file, in which such a word may stand, and why."""

FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] != "inference"]


def words(tree: ast.Module) -> Iterator[tuple[str, str, int]]:
    """Each literal that is a name or a label, with the constant of the module in whose value it stands ("" if none)."""
    for statement in tree.body:
        targets = (
            statement.targets
            if isinstance(statement, ast.Assign)
            else [statement.target]
            if isinstance(statement, ast.AnnAssign)
            else []
        )
        constant = next((target.id for target in targets if isinstance(target, ast.Name)), "")
        for node in ast.walk(statement):
            if isinstance(node, ast.Constant) and node.value in NAMES | LABELS:
                yield constant, str(node.value), node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_nothing_else_says_a_name(path: Path) -> None:
    """No literal outside autoopt/inference/ is the name of a format or a runtime, but in the constants listed here."""
    file = path.relative_to(PACKAGE).as_posix()
    found = [item for item in words(ast.parse(path.read_text())) if (file, item[0]) not in ALLOWED]
    assert not found, f"{file} must ask inference/ instead of naming: {found}"


def test_every_exception_is_needed() -> None:
    """Each constant in the list exists and has such a word."""
    needed = {
        (path.relative_to(PACKAGE).as_posix(), constant)
        for path in FILES
        for constant, _, _ in words(ast.parse(path.read_text()))
    }
    assert set(ALLOWED) == needed


@pytest.mark.parametrize(
    "code",
    [
        "def f(x): return x == 'torch'",
        "A = {'onnx': 1}",
        "def f(x): return x in ('openvino', 'b')",
        "export('fake')",
        "LABEL = 'torch f32'",
    ],
)
def test_a_name_is_found(code: str) -> None:
    """A comparison, a membership test, a key, an argument and a label are all found."""
    assert [word.split()[0] in NAMES for _, word, _ in words(ast.parse(code))] == [True]

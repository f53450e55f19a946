"""What is imported in the user's own process reports nothing to its makers."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import autoopt
from autoopt.core.process import QUIET
from autoopt.core.store import Store
from tests.deploy.bundles import build_openvino, image, write
from tests.e2e.silence import OUTSIDE, PROXIES, STARTED, told, write_watch

PACKAGE = Path(autoopt.__file__).parent
CHILDREN_ONLY = {"compress", "doctor.py", "measure"}
"""What imports OpenVINO in processes of ours alone, whose environment forbids telemetry."""
PROGRAM = """
import sys
import numpy
if sys.argv[1] == "loud":
    import openvino  # as it comes
import autoopt
with autoopt.load("deploy") as predictor:
    predictor.predict(numpy.load("x.npy"))
import openvino_telemetry  # those who want it have it
"""


def watched(folder: Path, *arguments: str) -> list[str]:
    """What a user's process that loads a bundle and predicts reached for; it is not told to be quiet."""
    write_watch(folder / "watch")
    path = os.pathsep.join([str(folder / "watch"), str(PACKAGE.parent)])
    proxies = {**PROXIES, **{name.upper(): place for name, place in PROXIES.items()}}
    own = {name: text for name, text in os.environ.items() if name not in QUIET}
    environment = {**own, **proxies, "PYTHONPATH": path, "HOME": str(folder)}
    subprocess.run([sys.executable, "-c", PROGRAM, *arguments], env=environment, cwd=folder, check=True, timeout=120)
    assert told(folder / "watch", STARTED)
    return told(folder / "watch", OUTSIDE)


def test_a_loaded_bundle_reports_nothing(tmp_path: Path) -> None:
    """OpenVINO's own import would: `load` and a prediction in a user's process reach for nothing outside."""
    pytest.importorskip("openvino")
    pytest.importorskip("openvino_telemetry")
    import numpy as np

    artifact = Store(tmp_path / "store").put("model", "ov", {}, build_openvino)
    write(tmp_path / "deploy", artifact, {"name": "openvino", "precision": "f32", "threads": 1, "streams": 1})
    np.save(tmp_path / "x.npy", image())
    assert watched(tmp_path, "silent") == []
    assert watched(tmp_path, "loud") != []  # so the watch would see it


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_openvino_is_imported_silently(path: Path) -> None:
    """What may run in a user's process gets OpenVINO from `silent.py`, but for the words of a type checker."""
    place = path.relative_to(PACKAGE)
    if place.parts[0] in CHILDREN_ONLY:
        return
    checked = [
        inner
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for inner in ast.walk(node)
    ]
    for node in checked:
        names = [item.name for item in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not [name for name in names if name.partition(".")[0] == "openvino"], path

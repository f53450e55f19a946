"""How the end-to-end tests run the command: as a user does, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from autoopt.core.process import QUIET
from autoopt.tracking.server import connect
from tests import tiny

SPACE = """
description: the fake runtime, for tests
runtime:
  name: fake
  threads: 1
  latency_ms: [1, 2, 3, 4]
  error: [0.0, 0.004, 0.2]
"""


def project(folder: Path, space: str = SPACE, workload: str = tiny.SOURCE, *, database: bool = True) -> list[str]:
    """Weights, a space and a home folder in `folder`; the arguments that use them.

    The home folder has an empty database of MLflow: to make one takes it as long as ten trials. Not so where no
    `database` is wanted.
    """
    weights = tiny.weights(folder / "tiny.safetensors")
    path = folder / "space.yaml"
    path.write_text(space)
    home = folder / "mlruns"
    if database and not home.exists():
        home.mkdir()
        (home / "mlflow.db").write_bytes(_empty_database())
    return ["--workload", workload, "--weights", str(weights), "--space", str(path), "--home", str(home)]


@cache
def _empty_database() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "mlflow.db"
        connect(f"sqlite:///{path}")
        return path.read_bytes()


def start(*arguments: str, cwd: Path | None = None, quick: bool = False) -> subprocess.Popen[str]:
    """The command, started in a process group of its own; `quick` where the times it measures do not matter."""
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), root])
    loud = {name: text for name, text in os.environ.items() if name not in QUIET}  # as users have it
    return subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.quick" if quick else "autoopt", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        start_new_session=True,
        env={**loud, "PYTHONPATH": path, "COLUMNS": "200"},
    )


def run(
    *arguments: str, cwd: Path | None = None, quick: bool = False, timeout: float = 240
) -> subprocess.CompletedProcess[str]:
    """The command, run to its end."""
    process = start(*arguments, cwd=cwd, quick=quick)
    out, err = process.communicate(timeout=timeout)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
